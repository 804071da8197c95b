-- name: read_files
-- The files of rows by key, unless their pages are there, in the order of the keys.
select state, file, hash, size
from pgembedd_internal.read_files(
    %(pipeline_id)s, %(ids)s::text[]::jsonb[], %(parser)s::text, %(most_bytes)s::bigint)
where pgembedd_internal.interface({interface} => true) order by n

-- name: read_uris
-- The URIs of rows by key, and what is known of their files, in the order of the keys.
select state, uri, hash, validator, file_hash, unreadable, prefixes
from pgembedd_internal.read_uris(%(pipeline_id)s, %(ids)s::text[]::jsonb[], %(parser)s::text)
where pgembedd_internal.interface({interface} => true) order by n

-- name: note_file
-- Note a file of which no text is read.
select pgembedd_internal.note_file(
    %(pipeline_id)s, %(id)s::text::jsonb, %(uri_hash)s::bytea, %(file_hash)s::bytea, %(validator)s::text,
    %(parser)s::text, %(unreadable)s::text)
where pgembedd_internal.interface({interface} => true)

-- name: due_listings
-- The pipelines whose objects are to be listed.
select pipeline_id, pipeline, objects_uri, prefixes from pgembedd_internal.due_listings()

-- name: begin_listing
-- Begin to list the objects of a pipeline.
select pgembedd_internal.begin_listing(%(pipeline_id)s)

-- name: add_objects
-- Keep a page of a listing.
select pgembedd_internal.add_objects(%(pipeline_id)s, %(number)s, %(objects)s::text::json)

-- name: finish_listing
-- Write what was listed into the source.
select written, deleted
from pgembedd_internal.finish_listing(%(pipeline_id)s, %(number)s, %(objects)s::bigint, %(left_out)s)

-- name: fail_listing
-- Note why objects could not be listed.
select pgembedd_internal.fail_listing(%(pipeline_id)s, %(number)s, %(problem)s)

-- name: store_pages
-- Write the pages of files and acknowledge their jobs, both or neither.
select msg_id, outcome
from pgembedd_internal.store_pages(
    %(queue)s, %(pipeline_id)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(hashes)s::bytea[],
    %(states)s::text[], %(pages)s::text::json, %(parser)s::text, %(file_hashes)s::bytea[], %(validators)s::text[])
where pgembedd_internal.interface({interface} => true)

-- name: parse_pipelines
-- The running pipelines that parse files.
select pipeline_id, pipeline, noted, uri_prefixes from pgembedd_internal.parse_pipelines()
