# The server without its sockets: stores, merge, workspaces.
add_library(satchel_server_core STATIC
    src/db.c src/incarnation.c src/store_sqlite.c src/store_rows.c src/store_scope.c src/timelines.c src/store_log.c src/store_ids.c
    src/store_numbers.c src/store_links.c src/store_machines.c
    src/merge.c src/merge_batch.c src/merge_rows.c src/merge_checks.c src/merge_scope.c src/merge_positions.c src/forward.c src/read_rows.c src/read_scope.c src/snapshot.c src/snapshot_make.c src/merge_timeline.c
    src/merge_notes.c src/merge_context.c src/merge_spread.c src/merge_keys.c src/merge_clusters.c
    src/merge_numbers.c src/merge_devices.c src/copy.c src/lines.c src/own_changes.c src/affinity.c src/pack_log.c
    src/scope_keep.c src/scope_node.c src/scope_solve.c src/scope_users.c src/scope_grants.c src/scope_set.c src/scope_rows.c src/scope_viewer.c
    src/scope_moves.c src/digest_keep.c src/read_digests.c
    src/workspace.c src/job.c src/write_jobs.c src/users.c src/tokens.c src/roles.c src/revoke.c src/enrol.c src/fork.c src/deploy.c src/deploy_rules.c
    src/create.c src/store_file.c src/workspace_files.c src/first_rows.c src/admin_rows.c
    src/admin_set.c src/admin_resolve.c src/admin_quarantine.c src/read_jobs.c src/read_entries.c src/read_positions.c src/stream_batch.c src/query.c src/quarantine.c)
target_include_directories(satchel_server_core PUBLIC src)
target_link_libraries(satchel_server_core PUBLIC satchel_sql satchel_sqlite3 Threads::Threads
                      PRIVATE PkgConfig::SODIUM)
