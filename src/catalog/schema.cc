// The migrations themselves. Table names carry a prefix because a database may be shared.

#include <array>

#include "catalog/migrations.h"

namespace holdfast::sql {

std::span<const Migration> CatalogMigrations() {
  static const std::array migrations = {
      Migration{
          .version = 1,
          .name = "repositories, groups, jobs, leases",
          .statements =
              {
                  // The outcome of writes, for lost replies (Store::Operate).
                  R"(CREATE TABLE holdfast_operations (
                       operation_id {key:64} NOT NULL PRIMARY KEY,
                       reply {key:255} NOT NULL,
                       at_us {int} NOT NULL) {table})",
                  "CREATE INDEX holdfast_operations_at ON holdfast_operations (at_us)",

                  R"(CREATE TABLE holdfast_repositories (
                       repository_id {key:255} NOT NULL PRIMARY KEY,
                       url {key:2048} NOT NULL,
                       first_seen_us {int} NOT NULL,
                       last_seen_us {int} NOT NULL,
                       rebuild {int} NOT NULL) {table})",

                  R"(CREATE TABLE holdfast_groups (
                       repository_id {key:255} NOT NULL,
                       group_id {key:255} NOT NULL,
                       cluster {key:255} NOT NULL,
                       begun_us {int} NOT NULL,
                       cut_us {int} NOT NULL,
                       state {key:16} NOT NULL,
                       consistency {key:16} NOT NULL,
                       skew_us {int} NOT NULL,
                       collections {int} NOT NULL,
                       shards {int} NOT NULL,
                       points {int} NOT NULL,
                       bytes_read {int} NOT NULL,
                       bytes_new {int} NOT NULL,
                       bytes_stored {int} NOT NULL,
                       summary {text} NOT NULL,
                       rebuild {int} NOT NULL,
                       PRIMARY KEY (repository_id, group_id),
                       FOREIGN KEY (repository_id)
                         REFERENCES holdfast_repositories (repository_id)) {table})",
                  "CREATE INDEX holdfast_groups_cut ON holdfast_groups "
                  "(cut_us, group_id, repository_id)",
                  "CREATE INDEX holdfast_groups_cluster ON holdfast_groups "
                  "(cluster, cut_us, group_id)",

                  // `writes` grows with every write made on behalf of the lease: that is what makes
                  // such a write and a takeover collide under snapshot isolation.
                  R"(CREATE TABLE holdfast_leases (
                       name {key:512} NOT NULL PRIMARY KEY,
                       owner {key:512} NOT NULL,
                       token {int} NOT NULL,
                       expires_us {int} NOT NULL,
                       writes {int} NOT NULL) {table})",

                  R"(CREATE TABLE holdfast_jobs (
                       job_id {key:255} NOT NULL PRIMARY KEY,
                       kind {key:255} NOT NULL,
                       cluster {key:255} NOT NULL,
                       subject {key:255} NOT NULL,
                       lease_name {key:512} NOT NULL,
                       lease_token {int} NOT NULL,
                       owner {key:512} NOT NULL,
                       state {key:16} NOT NULL,
                       attempt {int} NOT NULL,
                       error {text} NOT NULL,
                       created_us {int} NOT NULL,
                       started_us {int},
                       finished_us {int}) {table})",
                  "CREATE INDEX holdfast_jobs_lease ON holdfast_jobs (lease_name, state)",

                  // In parts, because TiDB takes no row above 6 MB.
                  R"(CREATE TABLE holdfast_job_documents (
                       job_id {key:255} NOT NULL,
                       name {key:16} NOT NULL,
                       part {int} NOT NULL,
                       body {text} NOT NULL,
                       PRIMARY KEY (job_id, name, part),
                       FOREIGN KEY (job_id) REFERENCES holdfast_jobs (job_id)) {table})",

                  R"(CREATE TABLE holdfast_steps (
                       job_id {key:255} NOT NULL,
                       step_key {key:1536} NOT NULL,
                       state {key:16} NOT NULL,
                       attempt {int} NOT NULL,
                       ended_us {int} NOT NULL,
                       detail {text} NOT NULL,
                       PRIMARY KEY (job_id, step_key),
                       FOREIGN KEY (job_id) REFERENCES holdfast_jobs (job_id)) {table})",
              },
      },
  };
  return migrations;
}

}  // namespace holdfast::sql
