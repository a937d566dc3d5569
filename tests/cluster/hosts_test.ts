/** Where a client reaches the servers of a cluster: the option clusterHosts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readClusterHosts } from "../../src/database/cluster/cluster_hosts.ts";
import { resolveOptions } from "../../src/postgres/resolved_options.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";

describe("clusterHosts", () => {
  it("lead from what servers call each other to where they are reached", () => {
    const reach = readClusterHosts({
      "db-1:5432": "proxy.example:6001",
      "[fd00::7]:5432": "[::1]:6002",
    })!;
    assert.deepEqual(reach({ host: "db-1", port: 5432 }), {
      host: "proxy.example",
      port: 6001,
    });
    assert.deepEqual(reach({ host: "fd00::7", port: 5432 }), {
      host: "::1",
      port: 6002,
    });
    const other = { host: "db-1", port: 5433 };
    assert.deepEqual(reach(other), other);
  });

  it("are refused, but never shown, unless they are such a list", () => {
    const wrong: unknown[] = [
      "db-1:5432",
      null,
      { "db-1": "proxy:1" },
      { "db-1:5432": "secret" },
      { "db-1:5432": "proxy:0" },
      { "db-1:5432": "proxy:70000" },
      { "db-1:5432": "user:secret@proxy:1" },
      { "db-1:5432": 1 },
    ];
    for (const clusterHosts of wrong) {
      assert.throws(
        () =>
          resolveOptions({
            url: "postgresql://towns@localhost/towns",
            schema: "s",
            clusterHosts: clusterHosts as Record<string, string>,
          }),
        (error) => {
          assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
          assert.match(
            error.message,
            /clusterHosts: must map "host:port" to "host:port"/,
          );
          assert.doesNotMatch(error.message, /secret/);
          return true;
        },
      );
    }
  });
});
