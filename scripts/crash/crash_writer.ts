import { Random } from "../../tests/support/random.ts";
import { checkStore } from "./checker.ts";
import { Ledger } from "./ledger.ts";
import { Payloads } from "./payload.ts";
import {
  Account,
  addCalls,
  type CrashOptions,
  type CrashReport,
  inTime,
  newReport,
} from "./run.ts";
import { CrashServer } from "../../tests/support/servers/crash_server.ts";
import { Writer } from "./writer.ts";

const schema = "crash";

/**
 * Replaces the process that owns a store by another, again and again. Mostly
 * SIGKILL ends the owner in the middle of its writes. Sometimes the owner is
 * alive and the takeover stops it, and sometimes it is frozen and wakes up
 * later. As soon as the next process owns the store, the program compares the
 * stored rows with the results of the calls, because the former owner may write
 * nothing from then on.
 *
 * @throws {BrokenPromise} for example, an acknowledged write is gone.
 */
export async function crashWriter(options: CrashOptions): Promise<CrashReport> {
  const started = performance.now();
  await using server = await CrashServer.start({
    settings: options.settings ?? {},
  });
  await using relay = new Relay(server, options);
  await relay.start();
  while (relay.report.kills < options.kills - 1) await relay.passOn();
  await relay.end();
  const { report, ledger, account } = relay;
  addCalls(report, ledger, account);
  report.elapsedMs = performance.now() - started;
  return report;
}

/** One owner after another. */
class Relay implements AsyncDisposable {
  readonly ledger: Ledger = new Ledger();
  readonly account: Account = new Account();
  readonly report: CrashReport;
  readonly #server: CrashServer;
  readonly #options: CrashOptions;
  readonly #random: Random;
  readonly #writers = new Set<Writer>();
  /** The ways in which the next owners are replaced. */
  #ways: ("dead" | "alive" | "frozen")[] = [];
  #starts = 0;
  #owner: Writer;

  constructor(server: CrashServer, options: CrashOptions) {
    this.#server = server;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.report = newReport("writer", options.seed);
    this.#owner = this.#newWriter();
  }

  /** Waits for the first writer. */
  async start(): Promise<void> {
    await inTime("Expected the first writer to start", this.#owner.owner());
    this.#owner.go();
  }

  /** Lets the owner write for a while, then replaces it. */
  async passOn(): Promise<void> {
    await this.account.more(this.#random.between(1, 300));
    // Even a short run takes each way.
    if (this.#ways.length === 0) {
      this.#ways = ["dead", "dead", "alive", "frozen"];
    }
    const nth = this.#random.between(0, this.#ways.length - 1);
    const [way] = this.#ways.splice(nth, 1);
    if (way === "dead") await this.#fromDead(this.#owner);
    else if (way === "alive") await this.#fromAlive(this.#owner);
    else await this.#fromFrozen(this.#owner);
  }

  /** Kills the last owner and checks what it has written. */
  async end(): Promise<void> {
    await this.#kill(this.#owner);
    await this.#server.query(endSessions);
    await this.#check();
  }

  /** Leaves no process behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#writers, (writer) => writer.kill()));
  }

  async #fromDead(last: Writer): Promise<void> {
    await this.#kill(last);
    await this.#replace(() => Promise.resolve());
  }

  async #fromAlive(last: Writer): Promise<void> {
    await this.#replace(async () => {
      await inTime("Expected the last owner to stop", last.stopped());
      await this.#kill(last);
    });
    this.report.takeovers.fromAlive++;
  }

  async #fromFrozen(last: Writer): Promise<void> {
    last.freeze();
    // As after a lost network, the server ends the lock session.
    await this.#server.query(endLockSessions);
    await this.#replace(() => Promise.resolve());
    last.thaw();
    await inTime("Expected the last owner to notice", last.stopped());
    await this.#kill(last);
    this.report.takeovers.fromFrozen++;
  }

  /** Starts the next owner, and lets it write when `leave` has ended. */
  async #replace(leave: () => Promise<void>): Promise<void> {
    const started = performance.now();
    this.#owner = this.#newWriter();
    await inTime("Expected the next owner", this.#owner.owner());
    await leave();
    await this.#check();
    this.#owner.go();
    await this.account.more(1);
    const { report } = this;
    report.longestRecoveryMs = Math.max(
      report.longestRecoveryMs,
      performance.now() - started,
    );
  }

  async #check(): Promise<void> {
    this.account.throwIfBroken();
    this.ledger.abandon();
    const ground = { url: this.#server.url, schema, partitions: 4 };
    const payloads = new Payloads(this.#options.seed);
    await checkStore(ground, this.ledger, payloads, this.report.checks);
  }

  async #kill(writer: Writer): Promise<void> {
    await writer.kill();
    this.#writers.delete(writer);
    this.report.kills++;
    this.#options.onKill?.(this.report.kills);
  }

  #newWriter(): Writer {
    const { seed, streams } = this.#options;
    const nth = this.#starts++;
    const plan = {
      url: this.#server.url,
      schema,
      seed,
      streams,
      firstId: nth * 1_000_000_000 + 1,
      applicationName: `writer ${nth}`,
    };
    const writer = new Writer(plan, this.ledger, this.account);
    this.#writers.add(writer);
    return writer;
  }
}

const endLockSessions = `SELECT pg_terminate_backend(pid) FROM pg_locks
  WHERE locktype = 'advisory' AND granted`;

/** Ends the sessions and waits until they are gone. */
const endSessions = `SELECT pg_terminate_backend(pid, 10000)
  FROM pg_stat_activity WHERE application_name LIKE 'writer %'`;
