/**
 * A store behind a real pgpool-II. In raw mode, version 4.3 keeps a transaction
 * open on the server's session: every statement succeeds, and nothing is ever
 * committed. The store must notice that.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "../../src/embedded/mod.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { queryOnce, testServerSettings } from "../support/database.ts";
import {
  type PgPoolMode,
  startPgPool,
  whyNoPgPool,
} from "../support/poolers/pgpool.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);

describe("A store behind pgpool-II", { skip: whyNoPgPool() }, () => {
  let server: EmbeddedPostgres;

  before(async () => {
    server = await startEmbeddedPostgres({ settings: testServerSettings });
    // pgpool-II has no password for SCRAM.
    const [shown] = await queryOnce(server.url, "SHOW hba_file");
    await writeFile(String(shown!.hba_file), "host all all all trust\n");
    await queryOnce(server.url, "SELECT pg_reload_conf()");
  });
  after(async () => await server?.close());

  function open(url: string, schema: string): Promise<PostgresStreamStorage> {
    return openStreamStorage({
      url,
      ownershipUrl: server.url,
      preparedStatements: false,
      schema,
      partitions: 1,
      startupDelayMs: 0,
      workerConcurrency: 0,
      maxConnections: 4,
    });
  }

  /** Checks that acknowledged writes are stored, unless the store refuses. */
  async function tryOut(mode: PgPoolMode): Promise<"works" | "refused"> {
    await using pool = await startPgPool(server.url, mode);
    const schema = `pgpool_${mode}`;
    const id = newStreamId();
    try {
      await using storage = await open(pool.url, schema);
      await storage.createStreamStorage(id, genesis);
      for (let slot = 0; slot < 20; slot++) {
        await storage.writeEvent(id, 1n, slot, event);
      }
    } catch (error) {
      assert.ok(isStreamStorageError(error), String(error));
      assert.equal(error.code, "BAD_CONFIG");
      assert.equal(error.details.reason, "transaction_open");
      return "refused";
    }
    const [row] = await queryOnce(
      server.url,
      `SELECT count(*)::int AS n FROM ${schema}.minipools_r00
        WHERE stream_id = '${id}' AND slot_num >= 0`,
    );
    assert.equal(row?.n, 20);
    return "works";
  }

  it("in raw mode refuses to open, or loses no acknowledged write", async () => {
    await tryOut("raw");
  });

  it("works in streaming replication mode", async () => {
    assert.equal(await tryOut("streaming_replication"), "works");
  });
});
