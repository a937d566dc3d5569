import { setTimeout as delay } from "node:timers/promises";
import { LossyNetwork } from "../../tests/support/network/network_namespace.ts";
import { Random } from "../../tests/support/random.ts";
import { checkStore } from "./checker.ts";
import { FarServer } from "./far_server.ts";
import { BrokenPromise, Ledger } from "./ledger.ts";
import { Payloads } from "./payload.ts";
import {
  Account,
  addCalls,
  type CrashOptions,
  type CrashReport,
  inTime,
  newReport,
} from "./run.ts";
import { Writer } from "./writer.ts";

const schema = "crash";

/**
 * The store gives up a connection soon after this many milliseconds of silence.
 * Half of the partitions last longer.
 */
const operationTimeoutMs = 1500;
const longestPartitionMs = 5000;

/**
 * Cuts the network between a store and its server, again and again, at random
 * moments under load. A partition cuts all connections, or only some of them,
 * while the store opens others and goes on. When the network heals, the kernels
 * deliver late what was lost. When nothing is left to deliver, the program
 * compares the stored rows with the results of the calls.
 *
 * @throws {BrokenPromise} for example, an acknowledged write is gone.
 */
export async function crashNetwork(
  options: CrashOptions,
): Promise<CrashReport> {
  const started = performance.now();
  await using network = await LossyNetwork.create();
  await using server = await FarServer.start(network, options.settings);
  await using run = new NetworkRun(network, server, options);
  await run.start();
  while (run.report.kills < options.kills) await run.partition();
  const { report } = run;
  addCalls(report, run.ledger, run.account);
  report.elapsedMs = performance.now() - started;
  return report;
}

/** A run with a writer on the far side of the network. */
class NetworkRun implements AsyncDisposable {
  readonly ledger: Ledger = new Ledger();
  readonly account: Account = new Account();
  readonly report: CrashReport;
  readonly #network: LossyNetwork;
  readonly #server: FarServer;
  readonly #options: CrashOptions;
  readonly #random: Random;
  readonly #writer: Writer;

  constructor(network: LossyNetwork, server: FarServer, options: CrashOptions) {
    const { seed, streams } = options;
    this.report = newReport("network", seed);
    this.#network = network;
    this.#server = server;
    this.#options = options;
    this.#random = new Random(seed);
    const plan = {
      url: server.farUrl,
      schema,
      seed,
      streams,
      firstId: 1,
      applicationName: "writer",
      operationTimeoutMs,
    };
    const { ledger, account } = this;
    this.#writer = new Writer(plan, ledger, account, network.onFarSide);
  }

  /** Waits until the writer owns the store. */
  async start(): Promise<void> {
    await inTime("Expected the writer to start", this.#writer.owner());
    void this.#writer.stopped().then(() =>
      this.account.break(
        new BrokenPromise("The only owner has lost its ownership"),
      )
    );
    this.#writer.go();
  }

  /** Cuts the network for a while, heals it, and checks the stored rows. */
  async partition(): Promise<void> {
    const { account, report } = this;
    const random = this.#random;
    await account.more(random.between(1, 300));
    const ports = random.chance(50) ? await this.#somePorts() : [];
    const isWhole = ports.length === 0;
    await this.#network.drop(isWhole ? "everything" : ports);
    report.kills++;
    if (!isWhole) report.cutsOfConnections++;
    this.#options.onKill?.(report.kills);
    await delay(random.between(0, longestPartitionMs));
    await this.#network.drop([]);
    const healed = performance.now();
    await account.more(1);
    const recovery = performance.now() - healed;
    report.longestRecoveryMs = Math.max(report.longestRecoveryMs, recovery);
    await this.#check();
    this.#writer.go();
  }

  /** Ends the writer. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.kill();
  }

  /** Picks some of the store's connections at random, of all kinds. */
  async #somePorts(): Promise<number[]> {
    const ports = await this.#server.portsWhere("true");
    return ports.filter(() => this.#random.chance(40));
  }

  async #check(): Promise<void> {
    const { account, ledger, report } = this;
    await inTime("Expected the calls to end", this.#writer.pause());
    await inTime("Expected all to be delivered", this.#delivered());
    account.throwIfBroken();
    const ground = { url: this.#server.url, schema, partitions: 4 };
    const payloads = new Payloads(this.#options.seed);
    await checkStore(ground, ledger, payloads, report.checks);
  }

  /**
   * Waits until no kernel has anything left to deliver, and the server has
   * ended the sessions that the store has given up.
   */
  async #delivered(): Promise<void> {
    for (;;) {
      const sockets = await this.#network.sockets();
      const open = sockets.filter(({ state }) => state === "ESTAB")
        .map(({ localPort }) => localPort);
      const sessions = await this.#server.portsWhere("true");
      const isDelivered = sockets.every(({ unsent }) => unsent === 0) &&
        sessions.every((port) => open.includes(port));
      if (isDelivered) return;
      await delay(20);
    }
  }
}
