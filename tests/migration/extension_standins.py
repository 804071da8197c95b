"""Stand-ins for the extensions pg_cron and pg_net: files by which a server of any version offers and preloads them.

They are no coverage of either: a control file, a script with the schema and the signatures that pgembedd looks at, and
under the library's name a harmless library of the server's own. The rights are as strict as the real ones': a role may
use the schema `cron` only once it was granted.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.pg_net_standin import SCHEMA as NET

PRELOADED = {"shared_preload_libraries": "pg_cron,pg_net", "cron.database_name": "postgres"}
LIBRARIES = {"pg_cron": "auto_explain", "pg_net": "auth_delay"}

CRON = """
create schema cron;
create table cron.job (
    jobid bigserial primary key, schedule text not null, command text not null,
    database text not null default current_database(), username text not null default current_user,
    active boolean not null default true, jobname text, unique (jobname, username));
grant select on cron.job to public;
alter table cron.job enable row level security;
create policy cron_job_policy on cron.job using (username = current_user);
create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql security definer as $$
    insert into cron.job (jobname, schedule, command, username) values (job_name, schedule, command, session_user)
    on conflict (jobname, username) do update set schedule = excluded.schedule, command = excluded.command
    returning jobid
$$;
create function cron.unschedule(job_id bigint) returns boolean language sql security definer as $$
    with gone as (delete from cron.job where jobid = job_id returning 1) select exists (select from gone)
$$;
create function cron.alter_job(job_id bigint, schedule text default null, command text default null) returns void
language sql security definer as $$ update cron.job set schedule = $2, command = $3 where jobid = job_id $$;
revoke all on function cron.alter_job from public;
"""
SCRIPTS = {"pg_cron": CRON, "pg_net": NET}


def add_standins(root: Path) -> None:
    """Puts both into a copy of a server's binaries."""
    extension = root / "share" / "extension"
    for name, script in SCRIPTS.items():
        (extension / f"{name}.control").write_text("default_version = '1.0'\nrelocatable = false\n")
        (extension / f"{name}--1.0.sql").write_text(script)
        shutil.copy(root / "lib" / f"{LIBRARIES[name]}.so", root / "lib" / f"{name}.so")
