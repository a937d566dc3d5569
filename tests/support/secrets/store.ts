/** A store full of secrets, and a search through everything that it shows. */
import type { Buffer } from "node:buffer";
import { dropSchema } from "../../../src/database/migrations/mod.ts";
import { quoteIdentifier } from "../../../src/database/migrations/sql_text.ts";
import type { Session } from "../../../src/database/session.ts";
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import { prometheusText } from "../../../src/telemetry/prometheus.ts";
import { bytes } from "../../../src/testing/contract/support.ts";
import { testDatabaseUrl, uniqueName } from "../database.ts";
import type { InMemoryTelemetry } from "../telemetry/in_memory_telemetry.ts";
import { openSession } from "../migration_connection.ts";
import { type Proxy, startProxy } from "../network/proxy.ts";
import {
  calls,
  endings,
  invoke,
  type Kind,
  operationsOf,
  prepare,
} from "./calls.ts";
import { commandLines } from "./command_lines.ts";
import type { SecretSearch } from "./search.ts";

/** The store, and what a test of secrets needs around it. */
export interface SecretStore extends AsyncDisposable {
  storage: PostgresStreamStorage;
  schema: string;
  /** A superuser's session. */
  admin: Session;
  /** The proxy between the store and its server. */
  proxy: Proxy;
  /** A URL with the store's login and password that bypasses the proxy. */
  url: string;
  content: Uint8Array;
  /** Makes a stream for each operation, before any trouble. */
  streams(): Promise<Map<string, StreamId>>;
  /**
   * Calls every operation except those that end the store, and searches their
   * errors. Returns the names of those that succeeded.
   */
  callAll(
    situation: string,
    streams: Map<string, StreamId>,
    signal?: AbortSignal,
  ): Promise<string[]>;
  /** Searches everything that the store shows about itself. */
  look(situation: string): Promise<void>;
}

/** Opens a store for a role whose password is a secret. */
export async function openSecretStore(
  search: SecretSearch,
  telemetry: InMemoryTelemetry,
  options: Partial<StreamStorageOptions> = {},
): Promise<SecretStore> {
  const { admin, name, url, dropRole } = await makeRole(search);
  const proxy = await startProxy(url);
  const events: unknown[] = [];
  const storage = await openStreamStorage({
    url: proxy.url,
    schema: name,
    partitions: 2,
    maxConnections: 5,
    startupDelayMs: 0,
    workerConcurrency: 0,
    operationTimeoutMs: 3000,
    debugTransactions: true,
    logger: (event) => void events.push(event),
    ...options,
  });
  // So long that any code that shortens text would cut it and show its start.
  const content = bytes(search.invent("content").repeat(9));
  const shown = { storage, events, telemetry };
  const look = (situation: string) => lookThrough(search, shown, situation);
  return {
    storage,
    schema: name,
    admin,
    proxy,
    url,
    content,
    look,
    streams: async () => {
      const streams = new Map<string, StreamId>();
      for (const [operation, { kind }] of Object.entries(calls)) {
        const isMedia = kind === "external" && !options.mediaStorage;
        const has: Kind = isMedia ? "sealed" : kind;
        streams.set(operation, await prepare(storage, has, content));
      }
      return streams;
    },
    callAll: (...args) => callAll(search, { storage, content, look }, ...args),
    [Symbol.asyncDispose]: async () => {
      await storage.close();
      await proxy.close();
      await dropRole();
    },
  };
}

/** A role with a schema of its own, whose name is the role's. */
async function makeRole(search: SecretSearch) {
  const direct = await testDatabaseUrl();
  const admin = await openSession(direct);
  const name = uniqueName("secrets");
  const password = search.invent("the password");
  const role = quoteIdentifier(name);
  await admin.script(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`);
  await admin.script(`CREATE SCHEMA ${role} AUTHORIZATION ${role}`);
  const login = new URL(direct);
  [login.username, login.password] = [name, password];
  const dropRole = async () => {
    await dropSchema(admin, name);
    await admin.script(`DROP OWNED BY ${role}`);
    await admin.script(`DROP ROLE ${role}`);
    await admin.close();
  };
  return { admin, name, url: login.href, dropRole };
}

async function lookThrough(
  search: SecretSearch,
  { storage, events, telemetry }: {
    storage: PostgresStreamStorage;
    events: unknown[];
    telemetry: InMemoryTelemetry;
  },
  situation: string,
): Promise<void> {
  const where = (what: string) => `${situation}, ${what}`;
  for (const event of events.splice(0)) search.see(where("log"), event);
  for (const span of telemetry.takeSpans()) {
    const { name, attributes, events, status } = span;
    search.see(where("span"), { name, attributes, events, status });
  }
  const metrics = [...(await telemetry.collect()).values()];
  search.see(where("metrics"), metrics);
  search.see(where("metrics"), storage.metrics());
  search.see(where("Prometheus"), prometheusText(storage));
  search.see(where("ring"), storage.dumpTxTracker());
  search.see(where("the store itself"), storage);
  search.see(where("the store's signal"), storage.signal.reason);
  search.see(where("maintenance itself"), storage.maintenance);
  search.see(where("the process list"), commandLines().join("\n"));
}

async function callAll(
  search: SecretSearch,
  { storage, content, look }: Pick<SecretStore, "storage" | "content" | "look">,
  situation: string,
  streams: Map<string, StreamId>,
  signal?: AbortSignal,
): Promise<string[]> {
  const succeeded: string[] = [];
  for (const operation of operationsOf(storage)) {
    if (endings.has(operation)) continue;
    // This operation clears the ring, so search the ring before.
    if (operation === "disableTxTracker") await look(situation);
    const given = calls[operation]!.args(streams.get(operation)!, content);
    const args = signal ? withSignal(operation, given, signal) : given;
    try {
      await invoke(storage, operation, args);
      succeeded.push(operation);
      if (operation === "disableTxTracker") storage.enableTxTracker();
    } catch (error) {
      search.see(`${situation}, ${operation}`, error);
    }
  }
  await look(situation);
  return succeeded;
}

/** The arguments, with a signal among the options. */
export function withSignal(
  operation: string,
  args: readonly unknown[],
  signal: AbortSignal,
): unknown[] {
  const [first] = args;
  const takesOne = operation.startsWith("maintenance.") &&
    typeof first === "object";
  return takesOne ? [{ ...first, signal }] : [...args, { signal }];
}

/** Values with content that a caller of plain JavaScript may pass by mistake. */
export function mistakes(content: Uint8Array): unknown[] {
  const text = new TextDecoder().decode(content);
  return [
    content,
    `not an id but ${text}`,
    { content, text, toString: () => text, [text]: text },
    [content, text],
    { number: 0n, data: text },
    () => content,
    Symbol(text),
    -1n,
    Number.NaN,
    null,
    undefined,
  ];
}

/** The text of a reply that sends the whole request back. */
export function echoOf(
  { headers, body }: { headers: Headers; body: Buffer | Uint8Array },
): string {
  const text = new TextDecoder("latin1").decode(body);
  return [...headers].map(([name, value]) => `${name}: ${value}`).join("\n") +
    `\n${text}`;
}
