import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { badConfig, textOf, unavailable } from "./failure.ts";
import type { ServerUser } from "./server_user.ts";
import { supervisorScript } from "./supervisor_script.ts";

/** Crash recovery of an old cluster is the slowest honest start. */
const startDeadlineMs = 120_000;
/** The script loses its patience after ten seconds and then needs a few. */
const stopDeadlineMs = 30_000;
const pollIntervalMs = 5;
const logTailLines = 20;

/** What a supervisor runs. */
export interface ServerPlan {
  /** The directory of this run; the supervisor removes it in the end. */
  runDir: string;
  /** The directory of the data. */
  dataDir: string;
  /** A cluster to throw away, a new one to keep, or one that is there. */
  cluster: "temporary" | "new" | "existing";
  /** Who runs the server. */
  user: ServerUser;
  /** All settings of the server. */
  settings: [name: string, value: string][];
}

/**
 * The host's side of the shell that holds the server, see
 * `supervisor_script.ts`. From its construction on nothing is left behind,
 * whatever becomes of this process.
 */
export class Supervisor {
  readonly #plan: ServerPlan;
  readonly #shell: ChildProcess;
  readonly #gone: Promise<void>;
  #goneBecause: string | undefined;

  /** Starts the shell only; it waits for {@linkcode start}. */
  constructor(plan: ServerPlan) {
    this.#plan = plan;
    this.#shell = spawn("/bin/sh", shellArguments(plan), {
      ...plan.user,
      cwd: "/",
      // Nothing in the host's environment may change what the server does.
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin", TZ: "UTC" },
      // A session of its own: Ctrl-C in the host's terminal passes it by.
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#gone = new Promise((resolve) => {
      this.#shell.once("error", (error) => resolve(textOf(error)));
      this.#shell.once("exit", () => resolve("its supervisor ended"));
    }).then((reason) => {
      this.#goneBecause = String(reason);
    });
    // A write to a shell that is gone; #gone tells, so this need not throw.
    this.#shell.stdin?.on("error", () => {});
    // A host that forgets to close may still end, and this ends with it.
    this.#shell.unref();
  }

  /** Resolves when the server takes connections. */
  async start(password: string): Promise<void> {
    const deadline = Date.now() + startDeadlineMs;
    this.#shell.stdin?.write(`${password}\n`);
    while (!await this.#isReady()) {
      const ended = await readIfThere(join(this.#plan.runDir, "ended"));
      if (ended.endsWith("\n")) throw await this.#failure(ended.trim());
      if (this.#goneBecause !== undefined) {
        throw notStarted(this.#goneBecause, "");
      }
      if (Date.now() > deadline) {
        throw notStarted(
          `it was not ready after ${startDeadlineMs / 1000} s`,
          await this.#logTail(),
        );
      }
      await delay(pollIntervalMs);
    }
    this.#shell.stdin?.write("accepted\n");
  }

  /** Ends the server, and removes what is temporary. */
  async stop(): Promise<void> {
    this.#shell.stdin?.end();
    const timer = new AbortController();
    const inTime = await Promise.race([
      this.#gone.then(() => true),
      delay(stopDeadlineMs, false, { signal: timer.signal })
        .catch(() => false),
    ]);
    timer.abort();
    if (inTime) return;
    throw unavailable(
      "server_does_not_stop",
      `Cannot stop the embedded PostgreSQL: it must end within ${
        stopDeadlineMs / 1000
      } s, and supervisor ${this.#shell.pid} still runs`,
    );
  }

  /**
   * The first file is the server's own and new, so the second one, which
   * outlives a crash, is this server's by then.
   */
  async #isReady(): Promise<boolean> {
    const { runDir, dataDir } = this.#plan;
    if (await readIfThere(join(runDir, "server.pid")) === "") return false;
    const state = await readIfThere(join(dataDir, "postmaster.pid"));
    return state.split("\n")[7]?.trim() === "ready";
  }

  async #failure(ended: string): Promise<Error> {
    const log = await this.#logTail();
    const [phase, status] = ended.split(" ");
    if (phase !== "settings") {
      return notStarted(`${phase} ended with status ${status}`, log);
    }
    // The shell's own words for a program that the system cannot run.
    const [reason, why] = status === "126" || status === "127"
      ? [
        "binaries_do_not_run",
        `the binaries for ${process.platform}-${process.arch} do not run on this system; use the url of a PostgreSQL server of your own`,
      ]
      : ["invalid_settings", "it refuses the settings"];
    return badConfig(
      reason,
      `Cannot start the embedded PostgreSQL: ${why}\n${log}`,
      { log },
    );
  }

  async #logTail(): Promise<string> {
    const log = await readIfThere(join(this.#plan.runDir, "log"));
    return log.trimEnd().split("\n").slice(-logTailLines).join("\n");
  }
}

function shellArguments(plan: ServerPlan): string[] {
  return [
    "-c",
    supervisorScript,
    "stream-storage-postgres",
    plan.runDir,
    plan.dataDir,
    plan.cluster,
    // Data that are thrown away need no checkpoint on the way out.
    plan.cluster === "temporary" ? "QUIT" : "INT",
    ...plan.settings.flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
}

function notStarted(why: string, log: string): Error {
  return unavailable(
    "server_did_not_start",
    `Cannot start the embedded PostgreSQL: ${why}\n${log}`.trimEnd(),
    { log },
  );
}

/** Empty when the file is missing, and while it is being made. */
async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return "";
  }
}
