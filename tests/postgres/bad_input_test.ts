/**
 * Opening a store with wrong options, or with a server that refuses or is away,
 * and errors of calls: each is typed, says what to change, and shows no secret.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import {
  isStreamStorageError,
  type StreamStorageError,
  type StreamStorageErrorCode,
} from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testDatabaseUrl, uniqueName } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";
import { everyText } from "../support/every_text.ts";
import { testSession } from "../support/sessions.ts";
import { until } from "../support/until.ts";

const secret = "hunter2-very-secret";

async function failure(
  options: StreamStorageOptions,
  code: StreamStorageErrorCode,
): Promise<StreamStorageError> {
  const error = await openStreamStorage(options).then(
    async (storage) => {
      await storage.close();
      throw new assert.AssertionError({ message: "Expected it not to open" });
    },
    (error) => error,
  );
  assert.ok(isStreamStorageError(error, code), inspect(error));
  assert.match(error.operation, /^(openStreamStorage|checkMigrations)$/);
  assert.ok(!inspect(error, { depth: 10 }).includes(secret));
  assert.ok(!JSON.stringify(error.details).includes(secret));
  return error;
}

async function urlWith(change: (url: URL) => void): Promise<string> {
  const url = new URL(await testDatabaseUrl());
  change(url);
  return url.href;
}

describe("Opening a store", () => {
  it("reports every fault of the options at once", async () => {
    const error = await failure({
      schema: "",
      port: 0,
      user: "u",
      password: secret,
      partitions: 257,
      maxConnections: 1,
      isolationLevel: "chaos" as never,
      retry: { attempts: 0 },
      passwrod: secret,
    } as StreamStorageOptions, "BAD_CONFIG");
    const faults = error.details.faults as { option: string }[];
    assert.deepEqual(
      faults.map(({ option }) => option).sort(),
      [
        "isolationLevel",
        "maxConnections",
        "partitions",
        "passwrod",
        "port",
        "retry.attempts",
        "schema",
      ],
    );
  });

  for (
    const url of [
      "",
      "mysql://u@h/d",
      "postgresql://",
      `postgresql://u:${secret}@h:99999/d`,
      `postgresql://u:${secret}@h/d?sslmode=maybe`,
      `postgresql://u:${secret}@h/d?target_session_attrs=standby`,
      `postgresql://u:${secret}%zz@h/d`,
    ]
  ) {
    it(`refuses the URL ${url.replace(secret, "…") || "without characters"}`, async () => {
      const error = await failure({ url, schema: "s" }, "BAD_CONFIG");
      assert.equal(error.details.reason, "bad_options");
    });
  }

  it("refuses a URL together with parts of one", async () => {
    await failure(
      { url: "postgresql://u@h/d", host: "h", schema: "s" },
      "BAD_CONFIG",
    );
  });

  for (const schema of ["", "x".repeat(64), "a\0b", "pg_towns"]) {
    it(`refuses the schema name ${JSON.stringify(schema.slice(0, 10))}`, async () => {
      await failure({ url: await testDatabaseUrl(), schema }, "BAD_CONFIG");
    });
  }

  it("fails with login_refused for a role that does not exist", async () => {
    const url = await urlWith((u) => {
      u.username = "nobody_of_this_name";
      u.password = secret;
    });
    const error = await failure({ url, schema: "s" }, "BAD_CONFIG");
    assert.equal(error.details.reason, "login_refused");
  });

  it("fails with the server's code for a database that does not exist", async () => {
    const url = await urlWith((u) => u.pathname = "/no_such_database");
    const error = await failure({ url, schema: "s" }, "BAD_CONFIG");
    assert.equal(error.details.sqlState, "3D000");
  });

  it("fails with connection_failed if no server is there", async () => {
    const proxy = await startProxy(await testDatabaseUrl());
    await proxy.close();
    const error = await failure({ url: proxy.url, schema: "s" }, "UNAVAILABLE");
    assert.equal(error.details.reason, "connection_failed");
    assert.ok(error.retryable);
  });

  it("obeys a signal that was aborted before", async () => {
    const reason = new Error("not today");
    const error = await failure({
      url: await testDatabaseUrl(),
      schema: "s",
      signal: AbortSignal.abort(reason),
    }, "CANCELED");
    assert.equal(error.cause, reason);
  });

  it("fails with login_refused for a wrong password", async (t) => {
    const right = await testDatabaseUrl();
    if (new URL(right).password === "") {
      return t.diagnostic("The tests' server asks for no password");
    }
    const url = await urlWith((u) => u.password = secret);
    const error = await failure({ url, schema: "s" }, "BAD_CONFIG");
    assert.equal(error.details.reason, "login_refused");
    assert.equal(error.details.sqlState, "28P01");
  });

  it("obeys a signal while the server is silent", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    proxy.silence(true);
    const controller = new AbortController();
    const opening = failure(
      { url: proxy.url, schema: "s", signal: controller.signal },
      "CANCELED",
    );
    await until(() => proxy.counts.attempts === 1);
    const aborted = performance.now();
    controller.abort(new Error("enough"));
    await opening;
    assert.ok(performance.now() - aborted < 2000);
  });

  it("makes no schema if it is to check only", async () => {
    const schema = uniqueName("check");
    const url = await testDatabaseUrl();
    const error = await failure(
      { url, schema, migrate: "check" },
      "BAD_CONFIG",
    );
    assert.equal(error.details.reason, "schema_not_current");
  });
});

describe("A server that goes away", () => {
  it("in the middle of calls fails them, and the store works again when it is back", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs: 1500,
      retry: { attempts: 3, minDelayMs: 1, maxDelayMs: 5 },
    });
    const { storage } = test;
    const id = newStreamId();
    const data = new Uint8Array([1]);
    await storage.createStreamStorage(id, { number: 0n, data, snapshot: data });
    proxy.refuse(true);
    proxy.cutAll();
    const marker = "payload-marker";
    const results = await Promise.allSettled([
      storage.writeEvent(id, 1n, 0, new TextEncoder().encode(marker)),
      storage.readStreamFromLastSnapshot(id, 0),
      storage.getStreams(),
    ]);
    for (const result of results) {
      assert.equal(result.status, "rejected");
      const { reason } = result as PromiseRejectedResult;
      assert.ok(isStreamStorageError(reason, "UNAVAILABLE"), inspect(reason));
      assert.ok(reason.retryable);
      assert.ok(["rolled_back", "unknown"].includes(reason.outcome));
      assert.ok(!inspect(reason, { depth: 10 }).includes(marker));
    }
    proxy.refuse(false);
    await storage.writeEvent(id, 1n, 0, data);
    const view = await storage.readStreamFromLastSnapshot(id, 0);
    assert.deepEqual(view.minipoolEnvelopes.map((bytes) => [...bytes]), [[1]]);
  });
});

describe("An error of a write", () => {
  const marker = "payload-marker";
  const payload = new TextEncoder().encode(`before ${marker} after`);
  // The text itself, and in hex, in base64 and as a list of numbers.
  const forms = [
    marker,
    Buffer.from(marker).toString("hex"),
    Buffer.from(marker).toString("base64").slice(0, -4),
    Array.from(new TextEncoder().encode(marker)).join(),
    Array.from(new TextEncoder().encode(marker)).join(", "),
  ];

  function assertRevealsNothing(error: unknown): void {
    assert.ok(isStreamStorageError(error), inspect(error));
    const text = everyText(error);
    assert.ok(text.includes(error.message));
    for (const form of forms) assert.ok(!text.includes(form), text);
  }

  async function refused(write: Promise<unknown>): Promise<void> {
    assertRevealsNothing(
      await write.then(() => assert.fail("Expected a refusal"), (e) => e),
    );
  }

  it("reveals nothing of what was written", async () => {
    await using test = await openTestStorage({
      partitions: 1,
      retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 2 },
    });
    const { storage, schema } = test;
    const id = newStreamId();
    const hash = new Uint8Array(32);
    const block = { number: 1n, data: payload, snapshot: payload };
    const event = () => storage.writeEvent(id, 1n, 0, payload);
    const candidate = () =>
      storage.writeMiniblockCandidate(id, { ...block, hash });
    const miniblocks = () =>
      storage.writeMiniblocks(
        id,
        Array.from({ length: 5 }, (_, i) => ({
          ...block,
          number: BigInt(i + 1),
          data: new Uint8Array([...payload, ...new Uint8Array(20_000)]),
        })),
        { generation: 6n, envelopes: [payload] },
        { generation: 1n },
      );
    await refused(event());
    await refused(candidate());
    await refused(miniblocks());
    await storage.createStreamStorage(id, { ...block, number: 0n });
    await refused(storage.createStreamStorage(id, { ...block, number: 0n }));
    // The server quotes rows that break a constraint, and COPY its lines.
    await using session = await testSession();
    await session.script(
      ["miniblocks_r00", "minipools_r00", "miniblock_candidates_r00"].map(
        (table) =>
          `ALTER TABLE ${schema}.${table}
           ADD CONSTRAINT no CHECK (stream_id <> '${id}') NOT VALID`,
      ).join(";"),
    );
    await refused(event());
    await refused(candidate());
    await refused(miniblocks());
    await refused(
      storage.writeMiniblocks(
        id,
        [block],
        { generation: 2n, envelopes: [payload] },
        { generation: 1n },
      ),
    );
    await refused(storage.readMiniblocks(id, 3n, 1n));
  });
});
