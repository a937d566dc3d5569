/** The settings in which late copies are tried: isolation levels and poolers. */
import type { Session } from "../../../src/database/session.ts";
import type { StreamStorageOptions } from "../../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import { testDatabaseUrl } from "../database.ts";
import { openSession } from "../migration_connection.ts";
import { startPgBouncer } from "../poolers/pgbouncer.ts";
import { openTestStorage } from "../storage.ts";
import { TRIMMING } from "./background_writes.ts";
import { type LateProxy, startLateProxy } from "./late_proxy.ts";
import { StoredState } from "./stored_state.ts";

/** The owner's name, which the fence of every write contains. */
export const LATE_COPY_OWNER = "late-copy-owner";

/** A store, and a proxy that can deliver its writes late. */
export interface LateCopyStore extends AsyncDisposable {
  storage: PostgresStreamStorage;
  schema: string;
  proxy: LateProxy;
  /** A session without proxy and pooler. */
  session: Session;
  state: StoredState;
}

interface Setting {
  isolationLevel?: StreamStorageOptions["isolationLevel"];
  /** PgBouncer's mode, if it is between the store and the server. */
  pooler?: "transaction" | "session";
  /** Whether the proxy is in front of the pooler, or else of the server. */
  isBeforePooler?: boolean;
}

/** The settings by name. */
const LATE_COPY_SETTINGS = {
  "read committed": {},
  "repeatable read": { isolationLevel: "repeatable read" },
  "serializable": { isolationLevel: "serializable" },
  "PgBouncer in transaction mode, held back before it": {
    pooler: "transaction",
    isBeforePooler: true,
  },
  "PgBouncer in transaction mode, held back behind it": {
    pooler: "transaction",
  },
  "PgBouncer in session mode, held back before it": {
    pooler: "session",
    isBeforePooler: true,
  },
  "PgBouncer in session mode, held back behind it": { pooler: "session" },
} as const satisfies Record<string, Setting>;

/** The name of a setting. */
export type SettingName = keyof typeof LATE_COPY_SETTINGS;

/** All names, in the order of reports. */
export const SETTING_NAMES = Object.keys(LATE_COPY_SETTINGS) as SettingName[];

/** Opens a store in a schema of its own, behind a proxy of its own. */
export async function openLateCopyStore(
  name: SettingName,
): Promise<LateCopyStore> {
  const { isolationLevel, ...path }: Setting = LATE_COPY_SETTINGS[name];
  const direct = await testDatabaseUrl();
  await using stack = new AsyncDisposableStack();
  const { proxy, url } = await openPath(stack, direct, path);
  const { storage, schema } = stack.use(
    await openTestStorage({
      url,
      partitions: 1,
      // Three transaction slots.
      maxConnections: 7,
      instanceId: LATE_COPY_OWNER,
      // A slow machine must not make a write fail.
      operationTimeoutMs: 30_000,
      trimming: TRIMMING,
      retry: { attempts: 20, minDelayMs: 1, maxDelayMs: 20 },
      ...(isolationLevel === undefined ? {} : { isolationLevel }),
      ...(path.pooler === "transaction" ? { ownershipUrl: direct } : {}),
      ...(path.pooler === "session" ? { preparedStatements: false } : {}),
    }),
  );
  const session = stack.use(await openSession(direct));
  const state = await StoredState.open(session, schema);
  const cleanUp = stack.move();
  return {
    storage,
    schema,
    proxy,
    session,
    state,
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

/** The proxy, and the URL through it. */
async function openPath(
  stack: AsyncDisposableStack,
  direct: string,
  { pooler, isBeforePooler = false }: Setting,
): Promise<{ proxy: LateProxy; url: string }> {
  if (pooler === undefined) {
    const proxy = stack.use(await startLateProxy(direct));
    return { proxy, url: proxy.url };
  }
  const settings = { pool_mode: pooler, default_pool_size: 20 };
  if (isBeforePooler) {
    const { url } = stack.use(await startPgBouncer(direct, settings));
    const proxy = stack.use(await startLateProxy(url));
    return { proxy, url: proxy.url };
  }
  const proxy = stack.use(await startLateProxy(direct));
  const { url } = stack.use(await startPgBouncer(proxy.url, settings));
  return { proxy, url };
}
