/**
 * A primary with an asynchronous standby (streaming replication), and a failover
 * that loses commits. A test cuts replication, so that later commits are only on
 * the primary. Then the primary dies, and the standby is promoted.
 *
 * The embedded binaries are enough. They have no `pg_basebackup`, so the standby
 * starts as a copy of the stopped primary's data.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ownerOf, PlainServer } from "./servers/plain_server.ts";
import { CrashServer } from "./servers/crash_server.ts";
import { writeAs } from "./servers/write_as.ts";
import { queryOnce } from "./database.ts";

/** Which host of the URL comes first; the primary is the one that will die. */
export type HostOrder = "primary first" | "standby first";

/** How long a server may take to reach a state, in ms. */
const limitMs = 30_000;

const settings = {
  fsync: "off",
  // It uses transaction numbers, which a test has to predict.
  autovacuum: "off",
  // The primary keeps the log that the standby has not fetched yet.
  wal_keep_size: "64MB",
  // The standby quickly tries again to reach a primary that is not up yet.
  wal_retrieve_retry_interval: "50ms",
};

/** Two servers, of which one is the other's standby until it is promoted. */
export class ReplicatedPair implements AsyncDisposable {
  readonly primary: CrashServer;
  readonly standby: Standby;

  private constructor(primary: CrashServer, standby: Standby) {
    this.primary = primary;
    this.standby = standby;
  }

  /** Starts both; resolves when the standby has caught up. */
  static async start(): Promise<ReplicatedPair> {
    await using stack = new AsyncDisposableStack();
    const primary = stack.use(await CrashServer.start({ settings }));
    await primary.stop();
    const standby = stack.use(await Standby.of(primary));
    await primary.restart();
    const pair = new ReplicatedPair(primary, standby);
    await pair.catchUp();
    stack.move();
    return pair;
  }

  /** A URL for both in libpq's form, which wants the one that takes writes. */
  url(order: HostOrder): string {
    const [own, other] = [this.primary.port, this.standby.port];
    const hosts = order === "primary first"
      ? `:${own},127.0.0.1:${other}/`
      : `:${other},127.0.0.1:${own}/`;
    const url = this.primary.url.replace(`:${own}/`, hosts);
    return `${url}&target_session_attrs=read-write`;
  }

  /** Waits until the standby has replayed every commit made so far. */
  async catchUp(): Promise<void> {
    const [row] = await this.primary.query(
      "SELECT pg_current_wal_flush_lsn()::text AS lsn",
    );
    await untilTrue(
      this.standby,
      `pg_last_wal_replay_lsn() >= '${row?.lsn}'::pg_lsn`,
    );
  }

  /**
   * Ends replication after every commit made so far. Later ones are only on the
   * primary. The standby forgets its primary's address, because it would restore
   * a lost connection at once.
   */
  async cut(): Promise<void> {
    await this.catchUp();
    await this.standby.query("ALTER SYSTEM SET primary_conninfo = ''");
    await this.standby.query("SELECT pg_reload_conf()");
    await untilTrue(
      this.standby,
      "NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)",
    );
    await untilTrue(
      this.primary,
      "NOT EXISTS (SELECT 1 FROM pg_stat_replication)",
    );
  }

  /** Kills the primary for good; resolves when the standby takes writes. */
  async failOver(): Promise<void> {
    await this.primary.crash();
    const [row] = await this.standby.query("SELECT pg_promote() AS promoted");
    assert.equal(row?.promoted, true);
    await untilTrue(this.standby, "NOT pg_is_in_recovery()");
  }

  /** Ends both and removes their data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.standby[Symbol.asyncDispose]();
    await this.primary[Symbol.asyncDispose]();
  }
}

/** The server that is a standby until it is promoted. */
export class Standby implements AsyncDisposable {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  /** Its URL, with the primary's login. */
  readonly url: string;
  readonly #base: string;
  readonly #server: PlainServer;

  private constructor(primary: CrashServer, server: PlainServer, base: string) {
    this.port = server.port;
    this.url = primary.url.replace(`:${primary.port}/`, `:${server.port}/`);
    this.#server = server;
    this.#base = base;
  }

  /** Starts a standby of a server that is stopped. */
  static async of(primary: CrashServer): Promise<Standby> {
    const base = await mkdtemp(join(tmpdir(), "stream-storage-standby-"));
    try {
      // Under root the server runs as another user, who needs access.
      await chmod(base, 0o755);
      const dataDir = join(base, "data");
      await copyData(primary, dataDir);
      const server = await PlainServer.start({ dataDir, settings });
      return new Standby(primary, server, base);
    } catch (error) {
      await rm(base, { recursive: true, force: true });
      throw error;
    }
  }

  /** Runs SQL on a session of its own. */
  query(sql: string): Promise<Record<string, unknown>[]> {
    return queryOnce(this.url, sql);
  }

  /** Ends the server and removes the data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await rm(this.#base, { recursive: true, force: true });
  }
}

/** Copies the primary's data, and makes the copy a standby's. */
async function copyData(primary: CrashServer, data: string): Promise<void> {
  // `cp` keeps owners; Node's copy function does not.
  await promisify(execFile)("cp", ["-a", primary.dataDir, data]);
  const { username, password } = new URL(primary.url);
  const conninfo = `host=127.0.0.1 port=${primary.port} user=${username} ` +
    `password=${password} sslmode=disable`;
  // A setting on the command line could not be changed by `cut`.
  const user = await ownerOf(data);
  await writeAs(
    user,
    join(data, "postgresql.auto.conf"),
    `primary_conninfo = '${conninfo}'\n`,
  );
  // The server removes the file when it is promoted, so it must own the file.
  await writeAs(user, join(data, "standby.signal"), "");
}

/** Polls the server until the condition holds. */
async function untilTrue(
  server: { query(sql: string): Promise<Record<string, unknown>[]> },
  sql: string,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const [row] = await server.query(`SELECT (${sql}) AS holds`)
      .catch(ofConflict);
    if (row?.holds === true) return;
    assert.ok(performance.now() < deadline, `Expected in time: ${sql}`);
  }
}

/** What a standby replays may cancel any query; the next one asks again. */
function ofConflict(error: { code?: string }): Record<string, unknown>[] {
  if (error.code === "40001") return [];
  throw error;
}
