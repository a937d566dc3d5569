/** A cluster: two members, one etcd, and a proxy for the stores. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { queryOnce } from "../../../tests/support/database.ts";
import {
  Addresses,
  etcdArguments,
  type MemberName,
  ports,
  proxyConfiguration,
  roles,
} from "./configuration.ts";
import { Member } from "./member.ts";
import type { Mode } from "./plan.ts";
import { needPrograms, postgresBinaries, Programs } from "./programs.ts";
import { until } from "./waiting.ts";

/** How long the cluster may take to reach a state, in milliseconds. */
const limitMs = 120_000;

/** See the file's head. */
export class PatroniCluster implements AsyncDisposable {
  readonly #addresses: Addresses;
  readonly #programs: Programs;
  readonly #members: Record<MemberName, Member>;

  private constructor(
    addresses: Addresses,
    programs: Programs,
    members: Record<MemberName, Member>,
  ) {
    this.#addresses = addresses;
    this.#programs = programs;
    this.#members = members;
  }

  /**
   * Starts the cluster. Resolves when the standby has caught up with the
   * primary.
   */
  static async start(keep: boolean): Promise<PatroniCluster> {
    needPrograms(["patroni", "patronictl", "etcd", "haproxy"]);
    const binaries = await postgresBinaries();
    await using stack = new AsyncDisposableStack();
    const programs = stack.use(
      await Programs.in("stream-storage-patroni-", keep),
    );
    const addresses = new Addresses();
    const etcd = await programs.makeDirectory("etcd");
    programs.start("etcd", "etcd", etcdArguments(addresses, etcd));
    const member = (name: MemberName) =>
      Member.create(name, addresses, programs, binaries);
    const members = { a: await member("a"), b: await member("b") };
    const cluster = new PatroniCluster(addresses, programs, members);
    await cluster.#startMembers();
    await cluster.#startProxy();
    stack.move();
    return cluster;
  }

  /** The directory of the logs. */
  get dir(): string {
    return this.#programs.dir;
  }

  /** Makes a URL of both members for a store, the given member first. */
  urlOfBoth(first: MemberName): string {
    const second = this.#other(first);
    const hosts = [this.#members[first], second]
      .map(({ address }) => `${address}:${ports.postgres}`).join();
    const login = `${roles.store}:${roles.password}`;
    return `postgresql://${login}@${hosts}/store?sslmode=disable&target_session_attrs=read-write`;
  }

  /** The URL of the proxy, for a store. */
  get urlOfProxy(): string {
    const login = `${roles.store}:${roles.password}`;
    const { haproxy } = this.#addresses;
    return `postgresql://${login}@${haproxy}:${ports.haproxy}/store?sslmode=disable`;
  }

  /**
   * Waits until the standby has caught up in this mode. Resolves with both
   * members.
   */
  async inStep(mode: Mode): Promise<{ primary: Member; standby: Member }> {
    return await this.#until("Expected a standby in step", async () => {
      // Restarts Patroni as systemd would: it may end if etcd is away at its
      // start.
      for (const member of Object.values(this.#members)) member.start();
      // Each attempt asks again, because a frozen member believes to be the
      // primary.
      const primary = await this.#primary();
      if (primary === undefined) return undefined;
      await setMode(primary, mode);
      const standby = this.#other(primary.name);
      const isThere = await isInStep(primary, standby, mode);
      return isThere && { primary, standby };
    });
  }

  /** Resolves when the member takes writes. */
  async promoted(member: Member): Promise<void> {
    await this.#until(
      "Expected the standby to be promoted",
      async () => await member.ask("pg_is_in_recovery()") === false,
    );
  }

  /** Lets the members change roles in an orderly way. */
  async switchover(from: Member, to: Member): Promise<void> {
    await this.#programs.run("patronictl", [
      ...["-c", from.configuration, "switchover", "stores"],
      ...["--leader", from.name, "--candidate", to.name, "--force"],
    ]);
  }

  /** Stops everything and removes the data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#programs[Symbol.asyncDispose]();
  }

  #other(name: MemberName): Member {
    return this.#members[name === "a" ? "b" : "a"];
  }

  /**
   * Starts one member after the other, so that the first one makes the cluster.
   */
  async #startMembers(): Promise<void> {
    const { a, b } = this.#members;
    await Promise.all([a.open(), b.open()]);
    await this.#until("Expected a primary", async () => {
      a.start();
      const { ok } = await a.rest("/primary");
      return ok;
    });
    await a.query(
      `CREATE ROLE ${roles.store} LOGIN PASSWORD '${roles.password}'`,
    );
    await a.query(`CREATE DATABASE store OWNER ${roles.store}`);
    await this.inStep("async");
  }

  async #startProxy(): Promise<void> {
    const file = join(this.dir, "haproxy.cfg");
    await writeFile(file, proxyConfiguration(this.#addresses));
    this.#programs.start("haproxy", "haproxy", ["-db", "-f", file]);
    await until(
      "Expected the proxy to forward",
      limitMs,
      async () => (await queryOnce(this.urlOfProxy, "SELECT 1")).length === 1,
    );
  }

  /**
   * Waits for an answer. If the time is over, the error shows Patroni's logs.
   */
  async #until<T>(
    what: string,
    ask: () => Promise<T | false | undefined>,
  ): Promise<T> {
    try {
      return await until(what, limitMs, ask);
    } catch (error) {
      const names = ["patroni-a", "patroni-b", "haproxy"];
      const logs = names.map((name) => this.#programs.endOf(name));
      const text = (await Promise.all(logs)).join("\n\n");
      throw new Error(`${(error as Error).message}\n${text}`, { cause: error });
    }
  }

  async #primary(): Promise<Member | undefined> {
    const members = Object.values(this.#members);
    const answers = await Promise.all(
      members.map((member) => member.rest("/primary").catch(() => undefined)),
    );
    const primaries = members.filter((_, nth) => answers[nth]?.ok);
    return primaries.length === 1 ? primaries[0] : undefined;
  }
}

async function setMode(primary: Member, mode: Mode): Promise<void> {
  const wanted = { synchronous_mode: mode === "sync" };
  const { ok } = await primary.rest("/config", wanted);
  if (!ok) throw new Error("Patroni refused the mode");
}

/**
 * Whether the standby streams in the mode and has replayed everything until
 * now.
 */
async function isInStep(
  primary: Member,
  standby: Member,
  mode: Mode,
): Promise<boolean> {
  const path = mode === "sync" ? "/synchronous" : "/replica";
  if (!(await standby.rest(path)).ok) return false;
  const lsn = await primary.ask(`SELECT pg_current_wal_flush_lsn()::text
    FROM pg_stat_replication
    WHERE application_name = '${standby.name}' AND state = 'streaming'
      AND sync_state = '${mode}'`);
  if (typeof lsn !== "string") return false;
  return await until(
    "Expected the standby to replay",
    5000,
    async () =>
      await standby.ask(`pg_last_wal_replay_lsn() >= '${lsn}'::pg_lsn`) ===
        true,
  );
}
