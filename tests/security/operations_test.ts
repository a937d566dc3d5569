/**
 * A store shows no secret, whatever its callers and the database do. Each test
 * calls every operation in one kind of trouble, and then searches all errors,
 * logs, metrics, spans, the ring of transactions, what can be inspected and the
 * process list. buckets_test.ts and openings_test.ts do the rest.
 *
 * Secrets are passwords, keys, tokens and the data that callers store.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, before, describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { GcsServer } from "../support/media/gcs_server.ts";
import {
  type InMemoryTelemetry,
  installTelemetry,
} from "../support/telemetry/in_memory_telemetry.ts";
import { onGcs } from "../support/media/streams.ts";
import {
  calls,
  endings,
  invoke,
  operationsOf,
  prepare,
} from "../support/secrets/calls.ts";
import { SecretSearch } from "../support/secrets/search.ts";
import {
  mistakes,
  openSecretStore,
  type SecretStore,
  withSignal,
} from "../support/secrets/store.ts";
import {
  failure,
  startSecretBucket,
  sweepBy,
  withPort,
} from "../support/secrets/trouble.ts";

const search = new SecretSearch();
const sweep = sweepBy(search);

describe("The search for secrets", () => {
  it("finds a secret in every form", () => {
    const own = new SecretSearch();
    const secret = own.invent("it");
    const bytes = new TextEncoder().encode(`ab${secret}cd`);
    const forms: unknown[] = [
      secret,
      bytes,
      { deep: { deeper: [{ bytes }] } },
      new Map([["key", secret]]),
      new Error(secret),
      new Error("outer", { cause: new Error("inner", { cause: secret }) }),
      Object.assign(new Error("x"), { details: { bytes } }),
      new AggregateError([new Error(secret)]),
      { bytes: JSON.parse(JSON.stringify(bytes)) },
      `\\x${Buffer.from(bytes).toString("hex")}`,
      ...["", "a", "ab"].map((head) => btoa(`${head}${secret}xyz`)),
      encodeURIComponent(`p:${secret}@`),
    ];
    for (const [index, form] of forms.entries()) {
      own.see(`form ${index}`, form);
      assert.deepEqual(own.take(), [`form ${index}: it`]);
    }
  });
});

describe("No secret is shown by a store", () => {
  let telemetry: InMemoryTelemetry;
  let bucket: GcsServer;
  let store: SecretStore;
  before(async () => {
    telemetry = installTelemetry();
    bucket = await startSecretBucket(search);
    store = await openSecretStore(search, telemetry, {
      mediaStorage: onGcs(bucket),
    });
  });
  after(async () => {
    await store?.[Symbol.asyncDispose]();
    await bucket?.[Symbol.asyncDispose]();
    await telemetry?.[Symbol.asyncDispose]();
  });

  it("because these tests call every operation", () => {
    const operations = operationsOf(store.storage).sort();
    assert.deepEqual(Object.keys(calls).sort(), operations);
  });

  sweep("in good order", async () => {
    const streams = await store.streams();
    const succeeded = await store.callAll("in good order", streams);
    const all = operationsOf(store.storage);
    assert.deepEqual(succeeded, all.filter((name) => !endings.has(name)));
  });

  sweep("when called again, or in the wrong state", async () => {
    const streams = await store.streams();
    for (const times of ["once", "again", "and again"]) {
      await store.callAll(`called ${times}`, streams);
    }
    const shifted = [...streams.values()];
    const wrong = [...streams.keys()].map((name, i) =>
      [name, shifted[(i + 7) % shifted.length]!] as const
    );
    await store.callAll("other streams", new Map(wrong));
  });

  sweep("with arguments that make no sense", async () => {
    const { storage, content } = store;
    let refused = 0;
    for (const name of operationsOf(storage)) {
      if (endings.has(name)) continue;
      const { kind, args } = calls[name]!;
      const id = await prepare(storage, kind, content);
      const given = args(id, content);
      for (const [at] of [...given, undefined].entries()) {
        for (const mistake of mistakes(content)) {
          const wrong = given.toSpliced(at, 1, mistake);
          try {
            await invoke(storage, name, wrong);
          } catch (error) {
            refused++;
            search.see(`argument ${at} of ${name}`, error);
          }
        }
      }
    }
    assert.ok(refused > 500, `Only ${refused} calls were refused`);
    await store.look("arguments that make no sense");
  });

  sweep("when the caller gives up", async () => {
    const streams = await store.streams();
    const reason = new Error("The caller gave up");
    await store.callAll("given up", streams, AbortSignal.abort(reason));
    for (const name of operationsOf(store.storage)) {
      if (endings.has(name)) continue;
      const controller = new AbortController();
      const args = calls[name]!.args(streams.get(name)!, store.content);
      const called = invoke(store.storage, name, [
        ...args,
        { signal: controller.signal },
      ]);
      controller.abort(reason);
      await called.catch((error) => search.see(`given up, ${name}`, error));
    }
    await store.look("given up");
  });

  sweep("when a row is refused", async () => {
    const { admin, schema } = store;
    const streams = await store.streams();
    const tables = await admin.script(
      `SELECT format('%I.%I', table_schema, table_name), string_agg(
          format('octet_length(%I) < 0', column_name), ' AND ')
        FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = '${schema}' AND data_type = 'bytea'
          AND table_type = 'BASE TABLE'
        GROUP BY table_schema, table_name`,
    );
    assert.ok(tables.length >= 3, "Expected tables with content");
    for (const [table, rule] of tables) {
      await admin.script(
        `ALTER TABLE ${table} ADD CONSTRAINT refuses CHECK (${rule}) NOT VALID`,
      );
    }
    const succeeded = await store.callAll("a row is refused", streams);
    assert.ok(!succeeded.includes("writeEvent"), succeeded.join(" "));
    for (const [table] of tables) {
      await admin.script(`ALTER TABLE ${table} DROP CONSTRAINT refuses`);
    }
  });

  sweep("when the server takes too long or goes away", async () => {
    const { admin, schema, proxy, url } = store;
    const options: Partial<StreamStorageOptions> = {
      url: proxy.url,
      schema,
      maxConnections: 5,
      startupDelayMs: 0,
      workerConcurrency: 0,
      operationTimeoutMs: 300,
      mediaStorage: onGcs(bucket),
    };
    const streams = await store.streams();
    const events: unknown[] = [];
    await using slow = await openStreamStorage({
      ...options as StreamStorageOptions,
      logger: (event) => void events.push(event),
    });
    // The first store has lost its schema to this one.
    await store.callAll("ownership lost", streams);
    search.see("ownership lost", store.storage.signal.reason);
    const callAll = async (situation: string, signal?: AbortSignal) => {
      const names = operationsOf(slow).filter((name) => !endings.has(name));
      await Promise.all(names.map((name) => {
        const args = calls[name]!.args(streams.get(name)!, store.content);
        // Maintenance waits longer than calls do.
        const given = signal && name.startsWith("maintenance.")
          ? withSignal(name, args, signal)
          : args;
        return invoke(slow, name, given)
          .catch((error) => search.see(`${situation}, ${name}`, error));
      }));
    };
    await admin.script("BEGIN");
    await admin.script(`LOCK TABLE "${schema}".es IN ACCESS EXCLUSIVE MODE`);
    await callAll("locked", AbortSignal.timeout(1000));
    await admin.script("ROLLBACK");
    proxy.refuse(true);
    proxy.cutAll();
    await callAll("server away", AbortSignal.timeout(1000));
    proxy.refuse(false);
    await slow.close();
    await callAll("closed");
    search.see("log", events);
    search.see("the store itself", slow);
    await store.look("server away");
    search.see(
      "no such server",
      await failure({ ...options, url: withPort(url, 9) }),
    );
  });
});
