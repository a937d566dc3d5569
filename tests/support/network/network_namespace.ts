/**
 * A network of a test's own, with a router that can lose packets:
 *
 *     the machine ── router ── far side
 *
 * The router and the far side are network namespaces of Linux. A server on the
 * machine listens on `serverAddress`, which is all that a process on the far side
 * can reach. The router drops packets silently and in both directions, as a
 * partition does. The kernels of both ends keep sending them again, also for
 * sockets that their processes have closed.
 *
 * Needs root, the right to make namespaces, and iproute2 (`ip`, `ss`). On the
 * machine itself it makes only one interface with its addresses, which goes with
 * the router.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { promisify } from "node:util";

/** A TCP socket of the far side. */
export interface FarSocket {
  /** The state in the words of `ss`: ESTAB, FIN-WAIT-1, … */
  state: string;
  localPort: number;
  /** Bytes that the other end has not acknowledged. */
  unsent: number;
}

/** Which packets the router drops: all, or those of connections by far port. */
export type Dropped = "everything" | readonly number[];

/**
 * Why no such network can be made here; undefined if one can. Also prints the
 * reason on standard error, because a skipped test is soon forgotten.
 */
export async function whyNoNetwork(): Promise<string | undefined> {
  try {
    await using _ = await LossyNetwork.create();
    return undefined;
  } catch (error) {
    const [reason] = String((error as { stderr?: unknown }).stderr ?? error)
      .trim().split("\n");
    const why = process.geteuid?.() === 0
      ? `no network namespaces can be made (${reason})`
      : "network namespaces need root";
    console.error(`The tests of network partitions are NOT RUN: ${why}`);
    return why;
  }
}

/** See the file's head. */
export class LossyNetwork implements AsyncDisposable {
  /** The machine's address on the far side. */
  readonly serverAddress: string;
  readonly #name: string;
  #dropped: Dropped = [];

  private constructor(name: string, serverAddress: string) {
    this.#name = name;
    this.serverAddress = serverAddress;
  }

  /** Makes the network, and removes the networks of processes that have ended. */
  static async create(): Promise<LossyNetwork> {
    await removeStale();
    const net = await freeNet();
    const network = new LossyNetwork(
      `${prefix}${process.pid}-${made++}`,
      `${net}.1`,
    );
    try {
      await network.#make(net);
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The addresses of the network, in the form of `pg_hba.conf`. */
  get range(): string {
    return this.serverAddress.replace(/\d+$/, "0/29");
  }

  /** A command that runs another one on the far side, with the same process id. */
  get onFarSide(): string[] {
    return [ipProgram, "netns", "exec", this.#farSide];
  }

  /** Drops exactly these packets from now on. */
  async drop(dropped: Dropped): Promise<void> {
    const old = rulesFor(this.#dropped);
    const rules = rulesFor(dropped);
    // The new rules come first, so that no packet slips through in between.
    const change = [
      ...rules.filter((rule) => !old.includes(rule)).map((r) => `add ${r}`),
      ...old.filter((rule) => !rules.includes(rule)).map((r) => `del ${r}`),
    ];
    this.#dropped = dropped;
    for (const rule of change) {
      await ip(`-n ${this.#router} rule ${rule}`);
    }
  }

  /** The TCP sockets of the far side. */
  async sockets(): Promise<FarSocket[]> {
    const { stdout } = await run(ss, ["-N", this.#farSide, "-Htan"]);
    return stdout.split("\n").filter((line) => line !== "").map((line) => {
      const [state = "", , unsent, local = ""] = line.split(/\s+/);
      return {
        state,
        unsent: Number(unsent),
        localPort: Number(local.slice(local.lastIndexOf(":") + 1)),
      };
    });
  }

  /** Removes the network. Processes on the far side must have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await removeNamespace(this.#farSide);
    await removeNamespace(this.#router);
    await ip(`link del ${this.#name}`).catch(() => {}); // gone with its peer
  }

  get #router(): string {
    return `${this.#name}r`;
  }

  get #farSide(): string {
    return `${this.#name}f`;
  }

  async #make(net: string): Promise<void> {
    const [router, far] = [this.#router, this.#farSide];
    for (
      const command of [
        `netns add ${router}`,
        `netns add ${far}`,
        `link add ${this.#name} type veth peer name near netns ${router}`,
        `-n ${router} link add far type veth peer name near netns ${far}`,
        `addr add ${net}.1/30 dev ${this.#name}`,
        `-n ${router} addr add ${net}.2/30 dev near`,
        `-n ${router} addr add ${net}.5/30 dev far`,
        `-n ${far} addr add ${net}.6/30 dev near`,
        `link set ${this.#name} mtu ${mtu} up`,
        `-n ${router} link set near mtu ${mtu} up`,
        `-n ${router} link set far mtu ${mtu} up`,
        `-n ${far} link set near mtu ${mtu} up`,
        `-n ${far} link set lo up`,
        `-n ${far} route add default via ${net}.5`,
        `route add ${net}.4/30 via ${net}.2`,
      ]
    ) await ip(command);
    const forward = "echo 1 >/proc/sys/net/ipv4/ip_forward";
    await run(ipProgram, ["netns", "exec", router, "sh", "-c", forward]);
  }
}

const run = promisify(execFile);

/** Debian installs the programs outside of an ordinary user's path. */
const find = (name: string) =>
  ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map((dir) => `${dir}/${name}`)
    .find(existsSync) ?? name;
const ipProgram = find("ip");
const ss = find("ss");
const prefix = "lossy-";
/**
 * The size in data centres. A write must fit into one packet: the server's
 * answer to a first packet would reach a closed socket, the kernel would reset
 * the connection, and the second packet would be lost for good.
 */
const mtu = 9000;
let made = 0;

async function ip(command: string): Promise<string> {
  return (await run(ipProgram, command.split(" "))).stdout;
}

function rulesFor(dropped: Dropped): string[] {
  if (dropped === "everything") return ["priority 1 blackhole"];
  return dropped.flatMap((port) => [
    `priority 2 ipproto tcp sport ${port} blackhole`,
    `priority 2 ipproto tcp dport ${port} blackhole`,
  ]);
}

/** Eight free addresses in the range for tests of networks (RFC 2544). */
async function freeNet(): Promise<string> {
  const used = await ip("-o -4 addr show");
  for (let n = 0; n < 1000; n++) {
    const net = `198.18.${Math.floor(Math.random() * 256)}`;
    if (!used.includes(` ${net}.`)) return net;
  }
  throw new Error("Expected a free network in 198.18.0.0/16");
}

async function removeStale(): Promise<void> {
  const names = (await ip("netns list")).match(/^lossy-\S+/gm) ?? [];
  for (const name of names) {
    const [, pid] = name.split("-");
    if (!existsSync(`/proc/${pid}`)) await removeNamespace(name);
  }
}

async function removeNamespace(name: string): Promise<void> {
  await ip(`netns del ${name}`).catch(() => {}); // perhaps it was never made
}
