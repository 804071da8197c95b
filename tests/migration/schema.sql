CREATE SCHEMA pgembedd;
COMMENT ON SCHEMA pgembedd IS 'Pipelines whose rows have vectors, and the functions of pgembedd.';
CREATE SCHEMA pgembedd_code;
COMMENT ON SCHEMA pgembedd_code IS 'The generated code of pipelines. For nobody but pgembedd: grant nothing on it.';
CREATE SCHEMA pgembedd_internal;
COMMENT ON SCHEMA pgembedd_internal IS 'The tables and functions of pgembedd that are not its interface: each version may change them.';
CREATE TYPE pgembedd_internal.job AS (
	queue text,
	msg_id bigint,
	read_ct integer,
	id text,
	pipeline_id integer,
	pipeline text,
	model text,
	fingerprint text,
	dimensions integer,
	suspect boolean,
	chunked boolean,
	chunk_tokens integer,
	chunk_overlap_tokens integer,
	splitter text,
	traceparent text,
	waited_s double precision,
	attempt integer,
	source oid
);
COMMENT ON TYPE pgembedd_internal.job IS 'A claimed message, with what a worker has to know of its pipeline.';
CREATE TYPE pgembedd_internal.message AS (
	msg_id bigint,
	read_ct integer,
	message jsonb,
	enqueued_at timestamp with time zone
);
COMMENT ON TYPE pgembedd_internal.message IS 'A message of one of our queues, as a read gives it.';
CREATE TABLE pgembedd_internal.pipeline (
    id integer NOT NULL,
    name text NOT NULL,
    source regclass NOT NULL,
    source_name text NOT NULL,
    key_columns text[] NOT NULL,
    content_columns text[],
    content_function text,
    watch_columns text[] NOT NULL,
    embedding_column text,
    embedding_table regclass,
    embedding_table_name text,
    chunk_tokens integer,
    chunk_overlap_tokens integer DEFAULT 0 NOT NULL,
    splitter text DEFAULT 'text'::text NOT NULL,
    formatting text,
    text_config text,
    text_config_column text,
    words_table regclass,
    model text,
    fingerprint text,
    dimensions integer,
    vector_type text NOT NULL,
    distance text NOT NULL,
    on_update text NOT NULL,
    max_attempts integer NOT NULL,
    search_path text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    state_reason text,
    state_since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    unserved_reason text,
    unserved_since timestamp with time zone,
    unserved_at timestamp with time zone,
    m integer,
    ef_construction integer,
    index_name text,
    index_due_at timestamp with time zone,
    created_indexes text[] DEFAULT '{}'::text[] NOT NULL,
    enable_always boolean DEFAULT false NOT NULL,
    triggers boolean DEFAULT true NOT NULL,
    shape text,
    sweep_due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    sweep_error text,
    problem_since timestamp with time zone,
    content_shape jsonb,
    requeued_reason text,
    requeued_at timestamp with time zone,
    shadow_of integer,
    shadow text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    slow_reason text,
    slow_until timestamp with time zone,
    slow_pause interval,
    slow_ends timestamp with time zone,
    upkeep_after timestamp with time zone,
    unserved_tried boolean,
    retry_delay interval DEFAULT '00:00:02'::interval NOT NULL,
    retry_factor double precision DEFAULT 2 NOT NULL,
    retry_max_delay interval DEFAULT '00:10:00'::interval NOT NULL,
    asked_watch_columns text[],
    index_type text DEFAULT 'hnsw'::text NOT NULL,
    task text DEFAULT 'embed'::text NOT NULL,
    uri_prefixes text[],
    recheck_interval interval,
    objects_uri text,
    code_version text,
    CONSTRAINT pipeline_check CHECK ((num_nonnulls(embedding_column, embedding_table) = 1)),
    CONSTRAINT pipeline_check1 CHECK ((num_nonnulls(shadow_of, shadow) = ANY (ARRAY[0, 2]))),
    CONSTRAINT pipeline_check2 CHECK ((num_nonnulls(content_columns, content_function) = 1)),
    CONSTRAINT pipeline_check3 CHECK (((task = 'embed'::text) = ((model IS NOT NULL) AND (dimensions IS NOT NULL)))),
    CONSTRAINT pipeline_check4 CHECK (((task = 'embed'::text) OR (embedding_table IS NOT NULL))),
    CONSTRAINT pipeline_check5 CHECK (((task = 'parse'::text) OR (uri_prefixes IS NULL))),
    CONSTRAINT pipeline_check6 CHECK (((recheck_interval IS NULL) OR (uri_prefixes IS NOT NULL))),
    CONSTRAINT pipeline_check7 CHECK (((objects_uri IS NULL) OR (uri_prefixes IS NOT NULL))),
    CONSTRAINT pipeline_chunk_overlap_check CHECK ((chunk_overlap_tokens >= 0)),
    CONSTRAINT pipeline_chunk_tokens_check CHECK ((chunk_tokens > 0)),
    CONSTRAINT pipeline_dimensions_check CHECK (((dimensions >= 1) AND (dimensions <= 16000))),
    CONSTRAINT pipeline_distance_check CHECK ((distance = ANY (ARRAY['cosine'::text, 'l2'::text, 'ip'::text]))),
    CONSTRAINT pipeline_index_type_check CHECK ((index_type = ANY (ARRAY['hnsw'::text, 'none'::text]))),
    CONSTRAINT pipeline_key_columns_check CHECK ((cardinality(key_columns) > 0)),
    CONSTRAINT pipeline_max_attempts_check CHECK (((max_attempts >= 1) AND (max_attempts <= 100))),
    CONSTRAINT pipeline_name_check CHECK ((name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'::text)),
    CONSTRAINT pipeline_on_update_check CHECK ((on_update = ANY (ARRAY['keep'::text, 'clear'::text]))),
    CONSTRAINT pipeline_shadow_check CHECK ((shadow = ANY (ARRAY['next'::text, 'previous'::text]))),
    CONSTRAINT pipeline_splitter_check CHECK ((splitter = ANY (ARRAY['text'::text, 'markdown'::text]))),
    CONSTRAINT pipeline_state_check CHECK ((state = ANY (ARRAY['running'::text, 'paused'::text, 'stopped'::text]))),
    CONSTRAINT pipeline_task_check CHECK ((task = ANY (ARRAY['embed'::text, 'parse'::text]))),
    CONSTRAINT pipeline_vector_type_check CHECK ((vector_type = ANY (ARRAY['halfvec'::text, 'vector'::text])))
);
COMMENT ON TABLE pgembedd_internal.pipeline IS 'What is embedded from where to where. Written by create_pipeline() and its like, not by hand.';
COMMENT ON COLUMN pgembedd_internal.pipeline.embedding_table IS 'Where the vectors go, one row a chunk; null when they go to embedding_column of the source.';
COMMENT ON COLUMN pgembedd_internal.pipeline.text_config IS 'The text search configuration for the rows'' words, with its schema; null where there is no search by words. It is text because pg_upgrade refuses a regconfig.';
COMMENT ON COLUMN pgembedd_internal.pipeline.text_config_column IS 'The column of the source that names the configuration of each row; text_config is for rows where it names none.';
COMMENT ON COLUMN pgembedd_internal.pipeline.words_table IS 'Our table with a tsvector for each row or chunk.';
COMMENT ON COLUMN pgembedd_internal.pipeline.fingerprint IS 'The model this pipeline is pinned to; set by the first worker that serves it.';
COMMENT ON COLUMN pgembedd_internal.pipeline.search_path IS 'The creator''s search_path: the content function and the triggers of the source run under it.';
COMMENT ON COLUMN pgembedd_internal.pipeline.unserved_reason IS 'Why a worker cannot serve the pipeline; believed while a worker repeats it (unserved_at).';
COMMENT ON COLUMN pgembedd_internal.pipeline.m IS 'Links of a node of the HNSW index; null, as ef_construction: by the number of rows when the index is built.';
COMMENT ON COLUMN pgembedd_internal.pipeline.index_due_at IS 'When the HNSW index is to be built at the latest; null when there is nothing to build.';
COMMENT ON COLUMN pgembedd_internal.pipeline.triggers IS 'Whether changes are noted by triggers of ours; false when webhooks tell of them.';
COMMENT ON COLUMN pgembedd_internal.pipeline.shape IS 'What the generated code was made for: names, owners, types of the key. Where the tables differ, it is made anew.';
COMMENT ON COLUMN pgembedd_internal.pipeline.sweep_error IS 'What the last sweep failed of; the next one stops the pipeline if it fails, too.';
COMMENT ON COLUMN pgembedd_internal.pipeline.content_shape IS 'What the catalog said of the columns of the content; the sweep compares it, and queues all rows where an ALTER changed contents (requeued_reason).';
COMMENT ON COLUMN pgembedd_internal.pipeline.shadow_of IS 'The pipeline beside which this one stands while a model is changed: as its next one, or as its previous one.';
COMMENT ON COLUMN pgembedd_internal.pipeline.slow_reason IS 'Code of the table''s owner did not end in time: served one row at a time after pauses that grow; forgotten at slow_ends.';
COMMENT ON COLUMN pgembedd_internal.pipeline.slow_until IS 'The end of the pause, or of the turn of the worker that tries a row; null where nothing is known against it.';
COMMENT ON COLUMN pgembedd_internal.pipeline.upkeep_after IS 'The upkeep was cancelled in this pipeline, and leaves it out until then.';
COMMENT ON COLUMN pgembedd_internal.pipeline.unserved_tried IS 'The worker of unserved_reason tried to have the model; false where its settings do not name it.';
COMMENT ON COLUMN pgembedd_internal.pipeline.retry_delay IS 'From the first failed attempt to the next one; then retry_factor times as long each time, up to retry_max_delay.';
COMMENT ON COLUMN pgembedd_internal.pipeline.asked_watch_columns IS 'The option watch_columns; null where watch_columns follows from the content.';
COMMENT ON COLUMN pgembedd_internal.pipeline.task IS 'What it makes: vectors of texts (embed), or pages of text of files (parse), which go into embedding_table.';
COMMENT ON COLUMN pgembedd_internal.pipeline.uri_prefixes IS 'What the URIs in its content column may begin with; null where that holds texts or files.';
COMMENT ON COLUMN pgembedd_internal.pipeline.recheck_interval IS 'After which a fetched file is looked at again.';
COMMENT ON COLUMN pgembedd_internal.pipeline.objects_uri IS 'The URI below which each object has its row in the source; null where others write that.';
COMMENT ON COLUMN pgembedd_internal.pipeline.code_version IS 'The versions of the rows of the catalog that its code and its triggers are, as they were made.';
CREATE TABLE pgembedd_internal.answer_settings (
    pipeline text NOT NULL,
    language_model text,
    url_template text,
    title_column text,
    min_similarity double precision,
    keep interval DEFAULT '30 days'::interval NOT NULL,
    language_models text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT answer_settings_keep_check CHECK ((keep > '00:00:00'::interval))
);
COMMENT ON TABLE pgembedd_internal.answer_settings IS 'How questions about a pipeline are answered: see configure_answers(). By name, as a new model makes a new row.';
COMMENT ON COLUMN pgembedd_internal.answer_settings.language_models IS 'The language models that a question may name besides `language_model`.';
CREATE UNLOGGED TABLE pgembedd_internal.embed_request (
    id uuid NOT NULL,
    model text NOT NULL,
    fingerprint text,
    kind text NOT NULL,
    content text,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    asked_by integer DEFAULT pg_backend_pid() NOT NULL,
    taken_by integer,
    declined_by integer[] DEFAULT '{}'::integer[] NOT NULL,
    embedding real[],
    refusal text,
    CONSTRAINT embed_request_kind_check CHECK ((kind = ANY (ARRAY['query'::text, 'document'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500');
COMMENT ON TABLE pgembedd_internal.embed_request IS 'Texts that wait in embed() for their vectors, each until its caller has it.';
COMMENT ON COLUMN pgembedd_internal.embed_request.asked_by IS 'The process id of the session that waits for it: what it asked before it ended is not embedded.';
COMMENT ON COLUMN pgembedd_internal.embed_request.taken_by IS 'The number of the worker that embeds it.';
CREATE TABLE pgembedd_internal.imported_trigger (
    source regclass NOT NULL,
    source_name text NOT NULL,
    embedding_column text NOT NULL,
    content_function text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL,
    enabled "char" NOT NULL,
    imported_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    column_type text
);
COMMENT ON TABLE pgembedd_internal.imported_trigger IS 'The triggers that `pgembedd import supabase` dropped: --undo and `uninstall` create them again.';
COMMENT ON COLUMN pgembedd_internal.imported_trigger.column_type IS 'Type and dimensions of the column at the import; null for one by the first version.';
CREATE TABLE pgembedd_internal.loopback (
    only_row boolean DEFAULT true NOT NULL,
    host text,
    port integer,
    username text NOT NULL,
    password text,
    options text,
    secret uuid DEFAULT gen_random_uuid() NOT NULL,
    CONSTRAINT loopback_only_row_check CHECK (only_row)
);
COMMENT ON TABLE pgembedd_internal.loopback IS 'One row: where and as whom embed() connects to its own database. Written by embed_through().';
CREATE TABLE pgembedd_internal.answer (
    id uuid NOT NULL,
    thread uuid NOT NULL,
    pipeline text NOT NULL,
    question text NOT NULL,
    language_model text,
    role name NOT NULL,
    subject text NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    last_seq integer DEFAULT 0 NOT NULL,
    answer text,
    reason text,
    citations integer[] DEFAULT '{}'::integer[] NOT NULL,
    usage jsonb,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    keep_until timestamp with time zone DEFAULT (clock_timestamp() + '1 day'::interval) NOT NULL,
    postponed integer DEFAULT 0 NOT NULL,
    CONSTRAINT answer_language_model_check CHECK ((length(language_model) <= 200)),
    CONSTRAINT answer_question_check CHECK ((length(question) <= 8000)),
    CONSTRAINT answer_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'generating'::text, 'complete'::text, 'refused'::text, 'failed'::text, 'stopped'::text])))
);
COMMENT ON TABLE pgembedd_internal.answer IS 'Questions and their answers, each a job of its own: due_at is the end of its lease, attempt its fence.';
COMMENT ON COLUMN pgembedd_internal.answer.postponed IS 'How often its rows could not be read in time: it is tried ever more rarely.';
CREATE TABLE pgembedd.answer_events (
    answer uuid NOT NULL,
    seq integer NOT NULL,
    attempt integer NOT NULL,
    event text NOT NULL,
    data jsonb NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT answer_event_event_check CHECK ((event = ANY (ARRAY['status'::text, 'sources'::text, 'delta'::text, 'citation'::text, 'done'::text, 'error'::text])))
);
COMMENT ON TABLE pgembedd.answer_events IS 'What the viewers of an answer are shown, in the order of seq; a table for Supabase''s Realtime, too.';
CREATE TABLE pgembedd_internal.answer_thread (
    id uuid NOT NULL,
    role name NOT NULL,
    subject text NOT NULL,
    began_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE pgembedd_internal.answer_thread IS 'Conversations: who asked first, as a role and the subject of its JWT claims, empty where there is none.';
CREATE TABLE pgembedd_internal.thread_member (
    thread uuid NOT NULL,
    role name NOT NULL,
    subject text NOT NULL,
    by_role name NOT NULL,
    by_subject text NOT NULL
);
COMMENT ON TABLE pgembedd_internal.thread_member IS 'With whom a thread is shared, and by whom: see share_thread().';
CREATE TABLE pgembedd_internal.dead_letter (
    id bigint NOT NULL,
    pipeline_id integer,
    queue text NOT NULL,
    key jsonb,
    message jsonb NOT NULL,
    reason text NOT NULL,
    error text,
    attempts integer NOT NULL,
    history jsonb DEFAULT '[]'::jsonb NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    died_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE pgembedd_internal.dead_letter IS 'Jobs that were given up, each with its reason; retry_dead_letters() puts them back.';
CREATE TABLE pgembedd.schema_revision (
    version_num character varying(32) NOT NULL
);
CREATE TABLE pgembedd_internal.row_state (
    pipeline_id integer NOT NULL,
    key jsonb NOT NULL,
    state text NOT NULL,
    dropped_tokens integer,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT row_state_state_check CHECK ((state = ANY (ARRAY['blank'::text, 'dead'::text, 'truncated'::text])))
);
COMMENT ON TABLE pgembedd_internal.row_state IS 'Exceptional rows only: blank (nothing to embed), dead (given up), truncated (text cut at the model''s limit).';
CREATE TABLE pgembedd_internal.missed (
    pipeline_id integer NOT NULL,
    key jsonb NOT NULL
);
COMMENT ON TABLE pgembedd_internal.missed IS 'Rows that changed while their queue was missing, as in a database that was restored without it.';
CREATE SEQUENCE pgembedd_internal.worker_idle
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    MAXVALUE 1
    CACHE 1;
COMMENT ON SEQUENCE pgembedd_internal.worker_idle IS '1 while some worker sleeps, and only then do triggers NOTIFY. A sequence: no transaction, no lock.';
CREATE TABLE pgembedd_internal.answer_source (
    answer uuid NOT NULL,
    n integer NOT NULL,
    pipeline text NOT NULL,
    key jsonb NOT NULL,
    title text,
    excerpt text NOT NULL,
    texts_hash bigint,
    score double precision,
    similarity double precision,
    place jsonb,
    CONSTRAINT answer_source_excerpt_check CHECK ((length(excerpt) <= 12000)),
    CONSTRAINT answer_source_key_check CHECK ((length((key)::text) <= 12000)),
    CONSTRAINT answer_source_n_check CHECK (((n >= 1) AND (n <= 50))),
    CONSTRAINT answer_source_title_check CHECK ((length(title) <= 1000))
);
COMMENT ON TABLE pgembedd_internal.answer_source IS 'What was found for a question with the rights of the role that asked: all that a language model is shown.';
COMMENT ON COLUMN pgembedd_internal.answer_source.texts_hash IS 'Of the texts of the row when it was found: the excerpt is shown to viewers as long as they are the same.';
COMMENT ON COLUMN pgembedd_internal.answer_source.place IS 'The file, the page and the headings of an excerpt, where the pipeline is of pages.';
CREATE TABLE pgembedd_internal.activity (
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    pipeline_id integer NOT NULL,
    written integer NOT NULL,
    cleared integer NOT NULL,
    unchanged integer NOT NULL,
    gone integer NOT NULL,
    lag interval,
    workers integer,
    recalled integer
);
COMMENT ON TABLE pgembedd_internal.activity IS 'What each store wrote; append-only, so that workers never wait for each other. Kept for a day.';
COMMENT ON COLUMN pgembedd_internal.activity.lag IS 'How long its jobs had waited since they were queued, on average; null when all rows were gone.';
COMMENT ON COLUMN pgembedd_internal.activity.workers IS 'How many workers answered then, of those that take jobs; null for a store of version 0.1.0.';
COMMENT ON COLUMN pgembedd_internal.activity.recalled IS 'Of how many texts the worker had the vector from before; null for a store of version 0.1.0.';
ALTER TABLE pgembedd_internal.dead_letter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgembedd_internal.dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE pgembedd_internal.event (
    nth bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    xid text DEFAULT (pg_current_xact_id())::text NOT NULL,
    payload jsonb NOT NULL
);
COMMENT ON TABLE pgembedd_internal.event IS 'The events of the last ten minutes: any role can send a NOTIFY that looks like one, so listeners look here.';
ALTER TABLE pgembedd_internal.event ALTER COLUMN nth ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgembedd_internal.event_nth_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
COMMENT ON SEQUENCE pgembedd_internal.event_nth_seq IS 'The numbers of the events.';
CREATE TABLE pgembedd_internal.fetched_file (
    pipeline_id integer NOT NULL,
    key jsonb NOT NULL,
    uri_hash bytea NOT NULL,
    file_hash bytea NOT NULL,
    validator text,
    parser text NOT NULL,
    unreadable text,
    checked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE pgembedd_internal.fetched_file IS 'Of each row with a URI the file that was fetched from it last.';
COMMENT ON COLUMN pgembedd_internal.fetched_file.validator IS 'By which its server tells whether it has changed since; null where the server gave none.';
COMMENT ON COLUMN pgembedd_internal.fetched_file.unreadable IS 'Why this parser reads no text of it, while the row is a dead letter; null where it has its pages.';
CREATE TABLE pgembedd_internal.index_build (
    only_row boolean DEFAULT true NOT NULL,
    pid integer,
    backend_start timestamp with time zone,
    application_name text,
    CONSTRAINT index_build_only_row_check CHECK (only_row)
);
COMMENT ON TABLE pgembedd_internal.index_build IS 'One row: the session that builds an index, null where none does. It counts as long as that session lives.';
CREATE TABLE pgembedd_internal.installation (
    only_row boolean DEFAULT true NOT NULL,
    pgmq_install text NOT NULL,
    created_queues text[] DEFAULT '{}'::text[] NOT NULL,
    sql_digest text,
    sql_applied_at timestamp with time zone,
    swept_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    retained_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    indexes_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    sample_due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    secret uuid DEFAULT gen_random_uuid() NOT NULL,
    CONSTRAINT installation_only_row_check CHECK (only_row),
    CONSTRAINT installation_pgmq_install_check CHECK ((pgmq_install = ANY (ARRAY['found'::text, 'extension'::text, 'sql'::text])))
);
COMMENT ON TABLE pgembedd_internal.installation IS 'One row: how pgmq came here, which sql/ is applied, when the upkeep last ran.';
CREATE TABLE pgembedd_internal.listed_object (
    pipeline_id integer NOT NULL,
    uri text NOT NULL,
    size bigint,
    etag text,
    modified timestamp with time zone
);
COMMENT ON TABLE pgembedd_internal.listed_object IS 'The objects of a listing that is not complete yet.';
CREATE TABLE pgembedd_internal.model (
    name text NOT NULL,
    names text[] NOT NULL,
    dimensions integer,
    min_similarity double precision
);
COMMENT ON TABLE pgembedd_internal.model IS 'The built-in models, as `pgembedd migrate` wrote them.';
COMMENT ON COLUMN pgembedd_internal.model.names IS 'The names that mean it, in small letters; one with a colon is that of a provider for the same vectors.';
COMMENT ON COLUMN pgembedd_internal.model.dimensions IS 'Of its vectors; null for a reranker, which has none.';
COMMENT ON COLUMN pgembedd_internal.model.min_similarity IS 'Below it a text says nothing about a question; null where that is not known.';
CREATE TABLE pgembedd_internal.object_listing (
    pipeline_id integer NOT NULL,
    number integer NOT NULL,
    due_at timestamp with time zone NOT NULL,
    listed_at timestamp with time zone,
    problem text
);
COMMENT ON TABLE pgembedd_internal.object_listing IS 'The newest listing of the objects of a pipeline.';
COMMENT ON COLUMN pgembedd_internal.object_listing.number IS 'Of a listing; one with a lower number does nothing.';
CREATE TABLE pgembedd_internal.open_backfill (
    pipeline_id integer NOT NULL,
    scope text NOT NULL,
    after jsonb,
    key_shape text,
    rows_left bigint DEFAULT 0 NOT NULL,
    begun_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT open_backfill_scope_check CHECK ((scope = ANY (ARRAY['lacking'::text, 'all'::text, 'anew'::text])))
);
COMMENT ON TABLE pgembedd_internal.open_backfill IS 'The backfills whose rows are not all queued yet.';
COMMENT ON COLUMN pgembedd_internal.open_backfill.scope IS 'The rows without a vector, all rows, or all rows with none of their vectors taken over.';
COMMENT ON COLUMN pgembedd_internal.open_backfill.after IS 'The key of the last row that was looked at.';
COMMENT ON COLUMN pgembedd_internal.open_backfill.key_shape IS 'What the key was like, whose order it follows.';
COMMENT ON COLUMN pgembedd_internal.open_backfill.rows_left IS 'An estimate of the rows that are to be queued yet.';
ALTER TABLE pgembedd_internal.pipeline ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgembedd_internal.pipeline_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE pgembedd_internal.prepared_search (
    pipeline_id integer NOT NULL,
    basis text NOT NULL,
    target jsonb NOT NULL,
    filters jsonb
);
ALTER TABLE ONLY pgembedd_internal.prepared_search ALTER COLUMN target SET STORAGE MAIN;
COMMENT ON TABLE pgembedd_internal.prepared_search IS 'What searches have to know of a pipeline; once its tables are not as `basis` says, each search looks it up.';
COMMENT ON COLUMN pgembedd_internal.prepared_search.filters IS 'What searches with a filter have to know besides.';
CREATE TABLE pgembedd_internal.provider_batch (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    pipeline_id integer NOT NULL,
    msg_ids bigint[] NOT NULL,
    batch text,
    output text,
    made_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE pgembedd_internal.provider_batch IS 'Jobs whose texts a provider embeds as a batch, and its names of the batch and of the file with the vectors.';
CREATE TABLE pgembedd_internal.provider_probe (
    pipeline_id integer NOT NULL,
    vectors real[] NOT NULL
);
COMMENT ON TABLE pgembedd_internal.provider_probe IS 'The vectors of a few fixed texts, which show that a provider of embeddings changed the model of a pipeline.';
CREATE TABLE pgembedd_internal.provider_use (
    provider text NOT NULL,
    day date NOT NULL,
    tokens bigint NOT NULL,
    requests bigint NOT NULL
);
COMMENT ON TABLE pgembedd_internal.provider_use IS 'Tokens and requests that providers of embeddings were asked for, by day in UTC. Kept for 31 days.';
CREATE TABLE pgembedd_internal.push (
    only_row boolean DEFAULT true NOT NULL,
    url text NOT NULL,
    token text,
    every text NOT NULL,
    batch_size integer DEFAULT 100 NOT NULL,
    requests bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    problem text,
    CONSTRAINT push_only_row_check CHECK (only_row)
);
COMMENT ON TABLE pgembedd_internal.push IS 'Where jobs are posted, with which bearer token, how often: see set_push(). The owner''s, but for the problem.';
COMMENT ON COLUMN pgembedd_internal.push.requests IS 'pg_net''s numbers of the requests whose answers are not read yet.';
COMMENT ON COLUMN pgembedd_internal.push.problem IS 'What is wrong, as the newest answer says; null while jobs are taken.';
CREATE TABLE pgembedd_internal.sample (
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    pipeline_id integer,
    queued bigint NOT NULL,
    backfill bigint NOT NULL,
    oldest_age interval,
    backfill_oldest_age interval,
    failing bigint NOT NULL,
    dead bigint NOT NULL
);
COMMENT ON TABLE pgembedd_internal.sample IS 'What was queued at a time, by pipeline: one row each that had anything, at most once a minute. Kept for a day.';
COMMENT ON COLUMN pgembedd_internal.sample.pipeline_id IS 'Null for the sum of all, which every sample has: a pipeline without a row had nothing queued and nothing dead.';
CREATE SEQUENCE pgembedd_internal.upkeep_at
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;
COMMENT ON SEQUENCE pgembedd_internal.upkeep_at IS 'The pipeline that the upkeep is at, 0 for none, plus the millisecond of the server''s start, modulo 2^31, times 2^31. A sequence: it says so also after the upkeep was cancelled.';
CREATE TABLE pgembedd_internal.word_frequency (
    pipeline_id integer NOT NULL,
    word text NOT NULL,
    share real NOT NULL
);
COMMENT ON TABLE pgembedd_internal.word_frequency IS 'The share of rows or chunks that hold a word, of the commonest words of a sample.';
CREATE TABLE pgembedd_internal.word_statistics (
    pipeline_id integer NOT NULL,
    documents double precision DEFAULT 0 NOT NULL,
    average_length double precision DEFAULT 'Infinity'::double precision NOT NULL,
    configs text[] DEFAULT '{}'::text[] NOT NULL,
    changes bigint DEFAULT '-1'::integer NOT NULL,
    filled boolean DEFAULT false NOT NULL,
    due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL
);
COMMENT ON TABLE pgembedd_internal.word_statistics IS 'Of a sample of the words of a pipeline: how many rows or chunks there are, how many words they have on average.';
COMMENT ON COLUMN pgembedd_internal.word_statistics.average_length IS 'Infinity where no row or chunk was sampled: with it the ranking does not take length into account.';
COMMENT ON COLUMN pgembedd_internal.word_statistics.changes IS 'What the server had counted of changes to the words at that time; nothing is done until it counts more.';
COMMENT ON COLUMN pgembedd_internal.word_statistics.filled IS 'Whether all vectors have their words; else the sweep adds them, as after existing_vectors => ''keep''.';
CREATE UNLOGGED TABLE pgembedd_internal.worker (
    id integer NOT NULL,
    role oid NOT NULL,
    place text NOT NULL,
    sessions integer[] NOT NULL,
    tasks text[] NOT NULL,
    busy_with integer[] NOT NULL,
    answered_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    server_start timestamp with time zone DEFAULT pg_postmaster_start_time() NOT NULL
);
COMMENT ON TABLE pgembedd_internal.worker IS 'The workers, by a number that each chose. A row counts while one of the sessions lives, or was written lately.';
COMMENT ON COLUMN pgembedd_internal.worker.role IS 'The role as which it connects, by whose rights it builds indexes.';
COMMENT ON COLUMN pgembedd_internal.worker.place IS 'The process and its machine.';
COMMENT ON COLUMN pgembedd_internal.worker.sessions IS 'The process ids of all its sessions; none where a pooler keeps none.';
COMMENT ON COLUMN pgembedd_internal.worker.tasks IS 'What it does: claim, push, embed, index.';
COMMENT ON COLUMN pgembedd_internal.worker.busy_with IS 'The pipelines whose jobs it holds, or whose models it loads.';
COMMENT ON COLUMN pgembedd_internal.worker.server_start IS 'When the server was started that it said so to: after a restart, or a restore elsewhere, the row counts no more.';
ALTER TABLE ONLY pgembedd.answer_events
    ADD CONSTRAINT answer_event_pkey PRIMARY KEY (answer, seq);
ALTER TABLE ONLY pgembedd.schema_revision
    ADD CONSTRAINT schema_revision_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY pgembedd_internal.answer
    ADD CONSTRAINT answer_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd_internal.answer_settings
    ADD CONSTRAINT answer_settings_pkey PRIMARY KEY (pipeline);
ALTER TABLE ONLY pgembedd_internal.answer_source
    ADD CONSTRAINT answer_source_pkey PRIMARY KEY (answer, n);
ALTER TABLE ONLY pgembedd_internal.answer_thread
    ADD CONSTRAINT answer_thread_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd_internal.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd_internal.embed_request
    ADD CONSTRAINT embed_request_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd_internal.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (nth);
ALTER TABLE ONLY pgembedd_internal.imported_trigger
    ADD CONSTRAINT imported_trigger_pkey PRIMARY KEY (source, name);
ALTER TABLE ONLY pgembedd_internal.index_build
    ADD CONSTRAINT index_build_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY pgembedd_internal.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY pgembedd_internal.listed_object
    ADD CONSTRAINT listed_object_pkey PRIMARY KEY (pipeline_id, uri);
ALTER TABLE ONLY pgembedd_internal.loopback
    ADD CONSTRAINT loopback_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY pgembedd_internal.model
    ADD CONSTRAINT model_pkey PRIMARY KEY (name);
ALTER TABLE ONLY pgembedd_internal.object_listing
    ADD CONSTRAINT object_listing_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY pgembedd_internal.open_backfill
    ADD CONSTRAINT open_backfill_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY pgembedd_internal.pipeline
    ADD CONSTRAINT pipeline_embedding_table_key UNIQUE (embedding_table);
ALTER TABLE ONLY pgembedd_internal.pipeline
    ADD CONSTRAINT pipeline_name_key UNIQUE (name);
ALTER TABLE ONLY pgembedd_internal.pipeline
    ADD CONSTRAINT pipeline_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd_internal.pipeline
    ADD CONSTRAINT pipeline_shadow_of_key UNIQUE (shadow_of);
ALTER TABLE ONLY pgembedd_internal.pipeline
    ADD CONSTRAINT pipeline_source_embedding_column_key UNIQUE (source, embedding_column);
ALTER TABLE ONLY pgembedd_internal.pipeline
    ADD CONSTRAINT pipeline_words_table_key UNIQUE (words_table);
ALTER TABLE ONLY pgembedd_internal.prepared_search
    ADD CONSTRAINT prepared_search_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY pgembedd_internal.provider_batch
    ADD CONSTRAINT provider_batch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd_internal.provider_probe
    ADD CONSTRAINT provider_probe_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY pgembedd_internal.provider_use
    ADD CONSTRAINT provider_use_pkey PRIMARY KEY (provider, day);
ALTER TABLE ONLY pgembedd_internal.push
    ADD CONSTRAINT push_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY pgembedd_internal.thread_member
    ADD CONSTRAINT thread_member_pkey PRIMARY KEY (thread, role, subject);
ALTER TABLE ONLY pgembedd_internal.word_frequency
    ADD CONSTRAINT word_frequency_pkey PRIMARY KEY (pipeline_id, word);
ALTER TABLE ONLY pgembedd_internal.word_statistics
    ADD CONSTRAINT word_statistics_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY pgembedd_internal.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);
CREATE INDEX activity_at_idx ON pgembedd_internal.activity USING btree (at);
CREATE INDEX answer_due_at_idx ON pgembedd_internal.answer USING btree (due_at) WHERE (status = ANY (ARRAY['queued'::text, 'generating'::text]));
CREATE INDEX answer_finished_at_idx ON pgembedd_internal.answer USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX answer_keep_until_idx ON pgembedd_internal.answer USING btree (keep_until);
CREATE INDEX answer_pipeline_idx ON pgembedd_internal.answer USING btree (pipeline);
CREATE INDEX answer_source_pipeline_idx ON pgembedd_internal.answer_source USING btree (pipeline);
CREATE INDEX answer_thread_idx ON pgembedd_internal.answer USING btree (thread, asked_at);
CREATE UNIQUE INDEX dead_letter_key_idx ON pgembedd_internal.dead_letter USING btree (pipeline_id, jsonb_hash_extended(key, (0)::bigint), jsonb_hash_extended(key, (1)::bigint));
CREATE INDEX embed_request_expires_at_idx ON pgembedd_internal.embed_request USING btree (expires_at);
CREATE INDEX fetched_file_checked_at_idx ON pgembedd_internal.fetched_file USING btree (pipeline_id, checked_at);
CREATE UNIQUE INDEX fetched_file_key_idx ON pgembedd_internal.fetched_file USING btree (pipeline_id, jsonb_hash_extended(key, (0)::bigint), jsonb_hash_extended(key, (1)::bigint));
CREATE INDEX missed_pipeline_id_idx ON pgembedd_internal.missed USING btree (pipeline_id);
CREATE INDEX pipeline_embedding_table_idx ON pgembedd_internal.pipeline USING btree (embedding_table);
CREATE INDEX pipeline_shadow_of_idx ON pgembedd_internal.pipeline USING btree (shadow_of);
CREATE INDEX pipeline_source_idx ON pgembedd_internal.pipeline USING btree (source);
CREATE INDEX provider_batch_msg_ids_idx ON pgembedd_internal.provider_batch USING gin (msg_ids);
CREATE INDEX provider_batch_pipeline_id_idx ON pgembedd_internal.provider_batch USING btree (pipeline_id);
CREATE UNIQUE INDEX row_state_key_idx ON pgembedd_internal.row_state USING btree (pipeline_id, jsonb_hash_extended(key, (0)::bigint), jsonb_hash_extended(key, (1)::bigint));
CREATE INDEX row_state_state_idx ON pgembedd_internal.row_state USING btree (pipeline_id, state);
CREATE INDEX sample_at_idx ON pgembedd_internal.sample USING btree (at);
ALTER TABLE ONLY pgembedd.answer_events
    ADD CONSTRAINT answer_event_answer_fkey FOREIGN KEY (answer) REFERENCES pgembedd_internal.answer(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.activity
    ADD CONSTRAINT activity_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.answer_source
    ADD CONSTRAINT answer_source_answer_fkey FOREIGN KEY (answer) REFERENCES pgembedd_internal.answer(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.answer
    ADD CONSTRAINT answer_thread_fkey FOREIGN KEY (thread) REFERENCES pgembedd_internal.answer_thread(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.dead_letter
    ADD CONSTRAINT dead_letter_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.fetched_file
    ADD CONSTRAINT fetched_file_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.listed_object
    ADD CONSTRAINT listed_object_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.object_listing(pipeline_id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.missed
    ADD CONSTRAINT missed_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.object_listing
    ADD CONSTRAINT object_listing_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.open_backfill
    ADD CONSTRAINT open_backfill_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.pipeline
    ADD CONSTRAINT pipeline_shadow_of_fkey FOREIGN KEY (shadow_of) REFERENCES pgembedd_internal.pipeline(id);
ALTER TABLE ONLY pgembedd_internal.prepared_search
    ADD CONSTRAINT prepared_search_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.provider_batch
    ADD CONSTRAINT provider_batch_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.provider_probe
    ADD CONSTRAINT provider_probe_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.row_state
    ADD CONSTRAINT row_state_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.sample
    ADD CONSTRAINT sample_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.thread_member
    ADD CONSTRAINT thread_member_thread_fkey FOREIGN KEY (thread) REFERENCES pgembedd_internal.answer_thread(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.word_frequency
    ADD CONSTRAINT word_frequency_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd_internal.word_statistics
    ADD CONSTRAINT word_statistics_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd_internal.pipeline(id) ON DELETE CASCADE;
ALTER TABLE pgembedd.answer_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY viewer ON pgembedd.answer_events FOR SELECT USING ((EXISTS ( SELECT
   FROM pgembedd_internal.answer a
  WHERE (a.id = answer_events.answer))));
CREATE POLICY worker ON pgembedd.answer_events USING ((CURRENT_USER = 'pgembedd'::name));
ALTER TABLE pgembedd_internal.answer ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgembedd_internal.answer_source ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgembedd_internal.answer_thread ENABLE ROW LEVEL SECURITY;
CREATE POLICY asker ON pgembedd_internal.answer FOR INSERT WITH CHECK (((role = CURRENT_USER) AND (subject = ( SELECT pgembedd_internal._subject() AS _subject)) AND (EXISTS ( SELECT
   FROM pgembedd_internal.answer_thread t
  WHERE (t.id = answer.thread)))));
CREATE POLICY asker ON pgembedd_internal.answer_source FOR INSERT WITH CHECK (((EXISTS ( SELECT
   FROM pgembedd_internal.answer a
  WHERE ((a.id = answer_source.answer) AND (a.last_seq = 0) AND (a.role = CURRENT_USER) AND (a.subject = ( SELECT pgembedd_internal._subject() AS _subject)) AND (a.pipeline = answer_source.pipeline)))) AND pgembedd_internal._is_readable_source(pipeline, key, texts_hash)));
CREATE POLICY asker ON pgembedd_internal.answer_thread FOR INSERT WITH CHECK (((role = CURRENT_USER) AND (subject = ( SELECT pgembedd_internal._subject() AS _subject))));
CREATE POLICY asker ON pgembedd_internal.thread_member FOR INSERT WITH CHECK (((by_role = CURRENT_USER) AND (by_subject = pgembedd_internal._subject()) AND (EXISTS ( SELECT
   FROM pgembedd_internal.answer_thread t
  WHERE ((t.id = thread_member.thread) AND (t.role = CURRENT_USER) AND (t.subject = pgembedd_internal._subject()))))));
CREATE POLICY asker_stops ON pgembedd_internal.answer FOR UPDATE USING (((status = ANY (ARRAY['queued'::text, 'generating'::text])) AND (((role = CURRENT_USER) AND (subject = ( SELECT pgembedd_internal._subject() AS _subject))) OR (EXISTS ( SELECT
   FROM pgembedd_internal.answer_thread t
  WHERE ((t.id = answer.thread) AND (t.role = CURRENT_USER) AND (t.subject = ( SELECT pgembedd_internal._subject() AS _subject)))))))) WITH CHECK ((status = 'stopped'::text));
CREATE POLICY asker_takes_back ON pgembedd_internal.thread_member FOR DELETE USING (((by_role = CURRENT_USER) AND (by_subject = pgembedd_internal._subject())));
ALTER TABLE pgembedd_internal.thread_member ENABLE ROW LEVEL SECURITY;
CREATE POLICY viewer ON pgembedd_internal.answer FOR SELECT USING ((EXISTS ( SELECT
   FROM pgembedd_internal.answer_thread t
  WHERE (t.id = answer.thread))));
CREATE POLICY viewer ON pgembedd_internal.answer_thread FOR SELECT USING ((((role = CURRENT_USER) AND (subject = ( SELECT pgembedd_internal._subject() AS _subject))) OR (EXISTS ( SELECT
   FROM pgembedd_internal.thread_member m
  WHERE ((m.thread = answer_thread.id) AND (m.role = CURRENT_USER) AND (m.subject = ( SELECT pgembedd_internal._subject() AS _subject)))))));
CREATE POLICY viewer ON pgembedd_internal.thread_member FOR SELECT USING ((((role = CURRENT_USER) AND (subject = pgembedd_internal._subject())) OR ((by_role = CURRENT_USER) AND (by_subject = pgembedd_internal._subject()))));
CREATE POLICY worker ON pgembedd_internal.answer USING ((CURRENT_USER = 'pgembedd'::name));
CREATE POLICY worker ON pgembedd_internal.answer_source USING ((CURRENT_USER = 'pgembedd'::name));
CREATE POLICY worker ON pgembedd_internal.answer_thread USING ((CURRENT_USER = 'pgembedd'::name));
CREATE POLICY worker ON pgembedd_internal.thread_member USING ((CURRENT_USER = 'pgembedd'::name));
GRANT USAGE ON SCHEMA pgembedd TO pgembedd_worker;
GRANT USAGE ON SCHEMA pgembedd TO pgembedd;
GRANT USAGE ON SCHEMA pgembedd_code TO pgembedd;
GRANT USAGE ON SCHEMA pgembedd_internal TO pgembedd_worker;
GRANT USAGE ON SCHEMA pgembedd_internal TO pgembedd;
GRANT ALL ON FUNCTION pgembedd.events(numbers bigint[], since pg_snapshot) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd.metrics() TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd.schema_version() TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd.tick(sweep_every_s double precision, retention_every_s double precision) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd.workers() TO pgembedd_worker;
GRANT SELECT ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(fingerprint) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(state) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(state_reason) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(state_since) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(unserved_reason) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(unserved_since) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(unserved_at) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(index_due_at) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(sweep_due_at) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(sweep_error) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(problem_since) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(content_shape) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(requeued_reason) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(requeued_at) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(slow_reason) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(slow_until) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(slow_pause) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(slow_ends) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(upkeep_after) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT UPDATE(unserved_tried) ON TABLE pgembedd_internal.pipeline TO pgembedd;
GRANT SELECT ON TABLE pgembedd_internal.answer_settings TO pgembedd;
GRANT SELECT,INSERT,DELETE,TRUNCATE,UPDATE ON TABLE pgembedd_internal.embed_request TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.answer TO pgembedd;
GRANT ALL ON FUNCTION pgembedd_internal.add_objects(pipeline_id integer, number integer, objects json) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.allowed_s(pipeline_id integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.begin_listing(pipeline_id integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.begin_provider_batch(pipeline_id integer, msg_ids bigint[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.blocker(pipeline_id integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.claim(pipeline_id integer, queue text, qty integer, lease_s integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.claim_answers(at_most integer, lease_s double precision, max_attempts integer, has uuid[], slow boolean) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.claim_changed(change jsonb, lease_s integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.claim_pushed(jobs jsonb, lease_s integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.continue_backfill(pipeline_id integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.correct_provider_use(provider text, tokens bigint) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.decline_embed_request(id uuid, reason text, worker integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.diagnose(pipeline_id integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.due(names text[], poll_s double precision, unserved integer[], lane text, idle boolean, task text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.due_listings() TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.end_turn(pipeline_id integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.extend_answers(answers uuid[], attempts integer[], lease_s double precision) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.fail(queue text, msg_id bigint, read_ct integer, reason text, error text, permanent boolean, key text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.fail_answer(answer uuid, attempt integer, message text, permanent boolean, delay_s double precision, max_attempts integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.fail_listing(pipeline_id integer, number integer, problem text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.finish_answer(answer uuid, attempt integer, status text, content text, citations integer[], events text[], data jsonb[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.finish_embed_requests(ids uuid[], embeddings public.vector[], refusals text[], worker integer, keeps_session boolean) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.finish_listing(pipeline_id integer, number integer, objects bigint, left_out text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.heartbeat(worker integer, place text, sessions integer[], tasks text[], busy_with integer[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.interface(n2 boolean) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.mark_alone(queue text, msg_id bigint, read_ct integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.models() TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.note_file(pipeline_id integer, key jsonb, uri_hash bytea, file_hash bytea, validator text, parser text, unreadable text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.note_provider_batch(id uuid, batch text, output text, lost_s double precision) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.note_served(pipeline_id integer, loaded boolean, worker integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.note_slow(pipeline_id integer, allowed_s double precision, timeout_s double precision, tried boolean) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.note_slow_change(change jsonb, timeout_s double precision) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.note_unserved(pipeline_id integer, reason text, tried boolean, worker integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.parse_pipelines() TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.pin_model(pipeline_id integer, fingerprint text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.postpone_answer(answer uuid, attempt integer, message text, most integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.probe_model(pipeline_id integer, vectors real[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.provider_batches(pipeline_id integer, msg_ids bigint[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.read(pipeline_id integer, ids jsonb[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.read_answer(answer uuid, attempt integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.read_chunks(pipeline_id integer, ids jsonb[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.read_files(pipeline_id integer, ids jsonb[], parser text, most_bytes bigint) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.read_uris(pipeline_id integer, ids jsonb[], parser text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.release(queue text, msg_ids bigint[], read_cts integer[], delay_s double precision, why text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.release_answers(answers uuid[], attempts integer[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.release_pushed(jobs jsonb, delay_s double precision) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.set_idle(idle boolean) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.stop_pipeline(pipeline_id integer, reason text) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.store(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], embeddings public.vector[], dropped integer[], recalled integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.store_chunks(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], dropped integer[], chunk_jobs integer[], chunk_indexes integer[], chunks text[], start_offsets integer[], end_offsets integer[], chunk_hashes bytea[], embeddings public.vector[], tokens integer[], tokens_kept integer[], recalled integer) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.store_pages(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], states text[], pages json, parser text, file_hashes bytea[], validators text[]) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.take_embed_requests(at_most integer, worker integer, keeps_session boolean) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.use_provider(provider text, tokens bigint, tokens_per_day bigint, requests_per_day bigint) TO pgembedd_worker;
GRANT ALL ON FUNCTION pgembedd_internal.write_answers(answers uuid[], attempts integer[], events text[], data jsonb[]) TO pgembedd_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd.answer_events TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.answer_thread TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.thread_member TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.dead_letter TO pgembedd;
GRANT SELECT ON TABLE pgembedd.schema_revision TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.row_state TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.missed TO pgembedd;
GRANT INSERT ON TABLE pgembedd_code.missed TO pgembedd;
GRANT SELECT,UPDATE ON SEQUENCE pgembedd_internal.worker_idle TO pgembedd;
GRANT SELECT ON TABLE pgembedd_code.worker_idle TO pgembedd;
GRANT SELECT ON TABLE pgembedd_internal._figures TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.answer_source TO pgembedd;
GRANT SELECT ON TABLE pgembedd_internal._search_basis TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.activity TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.event TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.fetched_file TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.index_build TO pgembedd;
GRANT SELECT ON TABLE pgembedd_internal.installation TO pgembedd;
GRANT UPDATE(swept_at) ON TABLE pgembedd_internal.installation TO pgembedd;
GRANT UPDATE(retained_at) ON TABLE pgembedd_internal.installation TO pgembedd;
GRANT UPDATE(indexes_at) ON TABLE pgembedd_internal.installation TO pgembedd;
GRANT UPDATE(sample_due_at) ON TABLE pgembedd_internal.installation TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.listed_object TO pgembedd;
GRANT SELECT ON TABLE pgembedd_internal.model TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.object_listing TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.open_backfill TO pgembedd;
GRANT SELECT ON TABLE pgembedd_internal.prepared_search TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.provider_batch TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.provider_probe TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.provider_use TO pgembedd;
GRANT SELECT(problem) ON TABLE pgembedd_internal.push TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.sample TO pgembedd;
GRANT SELECT,UPDATE ON SEQUENCE pgembedd_internal.upkeep_at TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.word_frequency TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.word_statistics TO pgembedd;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgembedd_internal.worker TO pgembedd;
