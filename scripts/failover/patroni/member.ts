/** A member of the cluster: Patroni, PostgreSQL, and the way to etcd. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { queryOnce } from "../../../tests/support/database.ts";
import {
  type Addresses,
  gateConfiguration,
  type MemberName,
  patroniConfiguration,
  ports,
  roles,
} from "./configuration.ts";
import { until } from "./waiting.ts";
import { type Program, type Programs, signalTo } from "./programs.ts";

/** How long etcd may take to start, in milliseconds. */
const etcdLimitMs = 60_000;

/** How to cut a member off from etcd. */
export type Cut = "silence" | "refusal";

/** See the file's head. */
export class Member {
  readonly name: MemberName;
  readonly address: string;
  /** The path of Patroni's configuration, which `patronictl` also reads. */
  readonly configuration: string;
  readonly #programs: Programs;
  readonly #dir: string;
  readonly #gateFile: string;
  readonly #gateAddress: string;
  #patroni: Program | undefined;
  #gate: Program | undefined;

  private constructor(
    name: MemberName,
    addresses: Addresses,
    programs: Programs,
    dir: string,
  ) {
    this.name = name;
    this.address = addresses.member(name);
    this.#gateAddress = `${addresses.gate(name)}:${ports.etcd}`;
    this.#programs = programs;
    this.#dir = dir;
    this.configuration = join(programs.dir, `${name}.patroni.yml`);
    this.#gateFile = join(programs.dir, `${name}.gate.cfg`);
  }

  /** Writes the configuration, and starts nothing. */
  static async create(
    name: MemberName,
    addresses: Addresses,
    programs: Programs,
    binaries: string,
  ): Promise<Member> {
    const dir = await programs.makeDirectory(name);
    const member = new Member(name, addresses, programs, dir);
    await writeFile(
      member.configuration,
      patroniConfiguration({ name, addresses, dir, binaries }),
    );
    await writeFile(member.#gateFile, gateConfiguration(name, addresses));
    return member;
  }

  /** Opens the way to etcd. Resolves when etcd answers through it. */
  async open(): Promise<void> {
    if (this.#gate === undefined) {
      const args = ["-db", "-f", this.#gateFile];
      this.#gate = this.#programs.start(`gate-${this.name}`, "haproxy", args);
    }
    await until("Expected etcd", etcdLimitMs, async () => {
      const { ok } = await fetch(`http://${this.#gateAddress}/health`);
      return ok;
    });
  }

  /** Starts Patroni if it does not run. Patroni starts PostgreSQL. */
  start(): void {
    if (this.#patroni?.isEnded === false) return;
    const { name, configuration } = this;
    const args = [configuration];
    this.#patroni = this.#programs.start(`patroni-${name}`, "patroni", args);
  }

  /** The server's URL for the role, without a proxy. */
  url(role: "superuser" | "store"): string {
    const database = role === "store" ? "store" : "postgres";
    const login = `${roles[role]}:${roles.password}`;
    return `postgresql://${login}@${this.address}:${ports.postgres}/${database}?sslmode=disable`;
  }

  /** Runs SQL as the superuser. */
  query(sql: string): Promise<Record<string, unknown>[]> {
    return queryOnce(this.url("superuser"), sql);
  }

  /** Evaluates an SQL expression. */
  async ask(expression: string): Promise<unknown> {
    const [row] = await this.query(`SELECT (${expression}) AS answer`);
    return row?.answer;
  }

  /** Calls Patroni's REST API. */
  async rest(path: string, patch?: unknown): Promise<Response> {
    const url = `http://${this.address}:${ports.patroni}${path}`;
    return await fetch(url, {
      signal: AbortSignal.timeout(5000),
      ...(patch === undefined
        ? {}
        : { method: "PATCH", body: JSON.stringify(patch) }),
    });
  }

  /** Kills only the postmaster. Its children notice that and end. */
  async killPostmaster(): Promise<void> {
    signalTo(await this.#postmaster(), "SIGKILL");
  }

  /** Kills Patroni and all processes of PostgreSQL at once. */
  async killAll(): Promise<void> {
    const postmaster = await this.#postmaster();
    await this.#patroni?.kill();
    this.#patroni = undefined;
    // The parent comes first, because it would inform the clients.
    signalTo(postmaster, "SIGSTOP");
    const family = [postmaster, ...await childrenOf(postmaster)];
    for (const pid of family) signalTo(pid, "SIGKILL");
  }

  /** Freezes Patroni, and nothing else. */
  freezePatroni(): void {
    this.#patroni?.signal("SIGSTOP");
  }

  /**
   * Kills the frozen Patroni and starts another. A Patroni that went on would
   * trust its old view of etcd for a moment, and might take the lock back from
   * the promoted member.
   */
  async replacePatroni(): Promise<void> {
    await this.#patroni?.kill();
    this.start();
  }

  /** Cuts the way to etcd. */
  async cutFromEtcd(cut: Cut): Promise<void> {
    if (cut === "silence") return this.#gate?.signal("SIGSTOP");
    await this.#gate?.kill();
    this.#gate = undefined;
  }

  /** Opens the way to etcd again. */
  async healEtcd(): Promise<void> {
    this.#gate?.signal("SIGCONT");
    await this.open();
  }

  /**
   * Finds the postmaster, and notes its shared memory, which a kill leaves
   * behind.
   */
  async #postmaster(): Promise<number> {
    const file = join(this.#dir, "data", "postmaster.pid");
    const lines = (await readFile(file, "utf8")).split("\n");
    const [, segment] = lines[6]!.trim().split(/\s+/);
    if (segment !== undefined) await this.#programs.inherit(segment);
    return Number(lines[0]);
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")),
  );
  return pids.filter((_, i) => {
    const stat = stats[i]!;
    // A process's name may contain blanks and brackets.
    const [, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(ppid) === parent;
  }).map(Number);
}
