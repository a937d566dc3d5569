/**
 * The network of two servers: each has a network namespace of its own, and all
 * between the machine (where the stores are) and the servers goes through a
 * router, a third namespace. The router can let one way fall silent alone:
 * that of the stores to a server, or that between the servers.
 *
 *     stores ─ router ─┬─ a
 *                      └─ b
 *
 * Needs root, the right to make namespaces, and iproute2. Of the machine itself
 * only one interface, its address and two routes are used, which go with the
 * router.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { promisify } from "node:util";

/** Where packets come from and go to. */
export type Place = "stores" | Side;

/** One of the servers. */
export type Side = "a" | "b";

/** Two ends of a way that can be cut. */
export type Way = readonly [Place, Place];

/** Names of all that the network is made of, for its removal. */
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

  /** A network that is not there yet; {@linkcode make} makes it. */
  static async plan(): Promise<PairNetwork> {
    const nth = planned++;
    return new PairNetwork(`fo${process.pid}-${nth}`, await freeNet(nth));
  }

  /** All that has to be removed, whether it is there or not. */
  get names(): NetworkNames {
    const namespaces = ["r", "a", "b"].map((one) => this.#name + one);
    return { namespaces, link: this.#name };
  }

  /** All of its addresses, as `pg_hba.conf` has it. */
  get range(): string {
    return `${this.#net}.0/28`;
  }

  /** The namespace of a server. */
  namespace(side: Side): string {
    return this.#name + side;
  }

  /** The only address of this end. */
  address(place: Place): string {
    return `${this.#net}.${{ stores: 1, a: 6, b: 10 }[place]}`;
  }

  /** Makes it. */
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

  /** From now on nothing passes between the two, in either direction. */
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

  /** How many connections the stores have to the server, as they see it. */
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

/** The processes in a namespace. */
export async function processesIn(namespace: string): Promise<number[]> {
  const text = await ip(`netns pids ${namespace}`);
  return text.split("\n").filter((line) => line !== "").map(Number);
}

/** A command that runs another one in the namespace, by the same process id. */
export function inNamespace(namespace: string): string[] {
  return [ipProgram, "netns", "exec", namespace];
}

const run = promisify(execFile);

/** Debian puts them where only administrators look. */
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
 * Of the range that is for tests of networks (RFC 2544), sixteen addresses; by
 * the process, so that two that look at the same time do not find the same.
 */
async function freeNet(nth: number): Promise<string> {
  const used = await ip("-o -4 addr show");
  for (let n = 0; n < 256; n++) {
    const net = `198.19.${(process.pid * 16 + nth + n) % 256}`;
    if (!used.includes(` ${net}.`)) return net;
  }
  throw new Error("Expected a free network in 198.19.0.0/16");
}
