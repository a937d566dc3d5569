/**
 * The network of two servers. Each server has a network namespace. All packets
 * between the machine, where the stores are, and the servers go through a
 * router, which is a third namespace. The router can silence a single way:
 * between the stores and a server, or between the servers.
 *
 *     stores ─ router ─┬─ a
 *                      └─ b
 *
 * The network needs root, the right to make namespaces, and iproute2. On the
 * machine itself it uses one interface, its address and two routes, which
 * disappear with the router.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { promisify } from "node:util";

/** An end of the network. */
export type Place = "stores" | Side;

/** One of the servers. */
export type Side = "a" | "b";

/** The two ends of a way that can be cut. */
export type Way = readonly [Place, Place];

/** The names of all parts of the network, for its removal. */
export interface NetworkNames {
  namespaces: string[];
  link: string;
}

/** See the file's head. */
export class PairNetwork {
  readonly #name: string;
  readonly #net: string;

  private constructor(name: string, net: string) {
    this.#name = name;
    this.#net = net;
  }

  /** Plans a network; {@linkcode make} makes it. */
  static async plan(): Promise<PairNetwork> {
    const nth = planned++;
    return new PairNetwork(`fo${process.pid}-${nth}`, await freeNet(nth));
  }

  /** Names everything that has to be removed, whether it exists or not. */
  get names(): NetworkNames {
    const namespaces = ["r", "a", "b"].map((one) => this.#name + one);
    return { namespaces, link: this.#name };
  }

  /** The range of all its addresses, for `pg_hba.conf`. */
  get range(): string {
    return `${this.#net}.0/28`;
  }

  /** The namespace of a server. */
  namespace(side: Side): string {
    return this.#name + side;
  }

  /** The address of this end. */
  address(place: Place): string {
    return `${this.#net}.${{ stores: 1, a: 6, b: 10 }[place]}`;
  }

  /** Makes the network. */
  async make(): Promise<void> {
    const [name, net] = [this.#name, this.#net];
    const [router, a, b] = [`${name}r`, `${name}a`, `${name}b`];
    for (
      const command of [
        `netns add ${router}`,
        `netns add ${a}`,
        `netns add ${b}`,
        `link add ${name} type veth peer name near netns ${router}`,
        `-n ${router} link add to-a type veth peer name near netns ${a}`,
        `-n ${router} link add to-b type veth peer name near netns ${b}`,
        `addr add ${net}.1/30 dev ${name}`,
        `-n ${router} addr add ${net}.2/30 dev near`,
        `-n ${router} addr add ${net}.5/30 dev to-a`,
        `-n ${a} addr add ${net}.6/30 dev near`,
        `-n ${router} addr add ${net}.9/30 dev to-b`,
        `-n ${b} addr add ${net}.10/30 dev near`,
        `link set ${name} up`,
        ...["near", "to-a", "to-b"].map((end) =>
          `-n ${router} link set ${end} up`
        ),
        ...[a, b].flatMap((end) => [
          `-n ${end} link set near up`,
          `-n ${end} link set lo up`,
        ]),
        `-n ${a} route add default via ${net}.5`,
        `-n ${b} route add default via ${net}.9`,
        `route add ${net}.4/30 via ${net}.2`,
        `route add ${net}.8/30 via ${net}.2`,
      ]
    ) await ip(command);
    const forward = "echo 1 >/proc/sys/net/ipv4/ip_forward";
    await run(ipProgram, ["netns", "exec", router, "sh", "-c", forward]);
  }

  /** Drops all packets between the two ends from now on, in both directions. */
  async cut(way: Way): Promise<void> {
    for (const rule of this.#rules(way)) {
      await ip(`-n ${this.#name}r rule add ${rule}`);
    }
  }

  /** Lets everything pass again. */
  async heal(way: Way): Promise<void> {
    for (const rule of this.#rules(way)) {
      await ip(`-n ${this.#name}r rule del ${rule}`);
    }
  }

  /**
   * Counts the stores' connections to the server, as the stores' side sees
   * them.
   */
  async connectionsTo(side: Side): Promise<number> {
    const filter = ["state", "established", "dst", this.address(side)];
    const { stdout } = await run(ss, ["-Htn", ...filter]);
    return stdout.split("\n").filter((line) => line !== "").length;
  }

  #rules([from, to]: Way): string[] {
    const [one, other] = [this.address(from), this.address(to)];
    return [
      `priority 1 from ${one} to ${other} blackhole`,
      `priority 1 from ${other} to ${one} blackhole`,
    ];
  }
}

/** Lists the processes in a namespace. */
export async function processesIn(namespace: string): Promise<number[]> {
  const text = await ip(`netns pids ${namespace}`);
  return text.split("\n").filter((line) => line !== "").map(Number);
}

/**
 * A command that runs another one in the namespace, with the same process id.
 */
export function inNamespace(namespace: string): string[] {
  return [ipProgram, "netns", "exec", namespace];
}

const run = promisify(execFile);

/**
 * Debian installs the programs in directories that only root has on its PATH.
 */
const find = (name: string) =>
  ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map((dir) => `${dir}/${name}`)
    .find(existsSync) ?? name;
const ipProgram = find("ip");
const ss = find("ss");
let planned = 0;

async function ip(command: string): Promise<string> {
  return (await run(ipProgram, command.split(" "))).stdout;
}

/**
 * Picks sixteen addresses of the range for tests of networks (RFC 2544). The
 * choice depends on the process, so that two processes do not pick the same at
 * once.
 */
async function freeNet(nth: number): Promise<string> {
  const used = await ip("-o -4 addr show");
  for (let n = 0; n < 256; n++) {
    const net = `198.19.${(process.pid * 16 + nth + n) % 256}`;
    if (!used.includes(` ${net}.`)) return net;
  }
  throw new Error("Expected a free network in 198.19.0.0/16");
}
