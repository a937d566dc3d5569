import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { accessLines, mainLines, settingLines } from "./configuration.ts";
import { badConfig, textOf, tmpUnusable, unavailable } from "./failure.ts";
import { redact } from "./redact.ts";
import type { ServerUser } from "./server_user.ts";
import { supervisorScript } from "./supervisor_script.ts";
import type { UsableBinaries } from "./usable_binaries.ts";

/** The slowest regular start is the crash recovery of an old cluster. */
const startDeadlineMs = 120_000;
/** The script becomes firm after ten seconds, and then needs a few more. */
const stopDeadlineMs = 30_000;
const pollIntervalMs = 5;
const logTailLines = 20;
/** Enough for the tail of a log; the script never writes more. */
const answerLimit = 65_536;

/** What a supervisor runs. */
export interface ServerPlan {
  /** The directory of this run, which the supervisor creates and removes. */
  runDir: string;
  /** The directory of the data. */
  dataDir: string;
  /**
   * A cluster to throw away, a new one to keep, an existing one, or an existing
   * one that keeps its passwords.
   */
  cluster: "temporary" | "new" | "existing" | "foreign";
  /** The user that runs the server. */
  user: ServerUser;
  /** The binaries that it runs. */
  binaries: UsableBinaries;
  /** Settings that no configuration of a cluster may change; no secrets. */
  fixed: [name: string, value: string][];
  /** The caller's settings, which may hold secrets. */
  settings: [name: string, value: string][];
}

/** The script's answer, or the reason why none will come. */
type Answer = { lines: string[] } | { silentBecause: string };

/**
 * The host's side of the shell that holds the server, see
 * `supervisor_script.ts`. Whatever becomes of this process, nothing is left
 * behind after it.
 */
export class Supervisor {
  readonly #plan: ServerPlan;
  readonly #shell: ChildProcess;
  readonly #gone: Promise<string>;
  #goneBecause: string | undefined;

  /** Starts only the shell, which waits for {@linkcode start}. */
  constructor(plan: ServerPlan) {
    this.#plan = plan;
    this.#shell = spawn("/bin/sh", shellArguments(plan), {
      ...plan.user,
      cwd: "/",
      // Keeps the host's environment from changing what the server does.
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin", TZ: "UTC" },
      // A session of its own keeps Ctrl-C in the host's terminal from it.
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
    });
    this.#gone = new Promise((resolve) => {
      this.#shell.once("error", (error) => resolve(textOf(error)));
      this.#shell.once("exit", () => resolve("its supervisor ended"));
    });
    void this.#gone.then((why) => this.#goneBecause = why);
    // A write to a shell that has ended fails; `#gone` reports that instead.
    this.#shell.stdin?.on("error", () => {});
    this.#shell.stdout?.on("error", () => {});
    // A host that forgets to close may still end, which ends the server, too.
    this.#shell.unref();
  }

  /**
   * Resolves when the server accepts connections. The verifier is that of the
   * superuser's password.
   */
  async start(verifier: string): Promise<void> {
    const { dataDir, settings } = this.#plan;
    for (
      const lines of [
        [verifier],
        settingLines(settings),
        mainLines(dataDir, "settings.conf"),
        accessLines,
      ]
    ) this.#shell.stdin?.write([...lines, ".", ""].join("\n"));
    const deadline = Date.now() + startDeadlineMs;
    try {
      while (!await this.#isReady(deadline)) await delay(pollIntervalMs);
      this.#shell.stdin?.write("accepted\n");
    } finally {
      this.#shell.stdout?.destroy(); // it would keep the host alive
    }
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
      `Cannot stop the embedded PostgreSQL: supervisor ${this.#shell.pid} still runs after ${
        stopDeadlineMs / 1000
      } s`,
    );
  }

  async #isReady(deadline: number): Promise<boolean> {
    const answer = await this.#ask(deadline);
    if ("silentBecause" in answer) throw notStarted(answer.silentBecause, "");
    const [first = "", ...log] = answer.lines;
    const [state, phase = "", status = ""] = first.split(" ");
    if (state === "ended") throw this.#failure(phase, status, log);
    if (state === "ready") return true;
    if (this.#goneBecause !== undefined) {
      throw notStarted(this.#goneBecause, "");
    }
    return false;
  }

  #ask(deadline: number): Promise<Answer> {
    const { stdin, stdout } = this.#shell;
    return new Promise((resolve) => {
      let said = "";
      const answer = (answer: Answer) => {
        clearTimeout(timer);
        stdout?.off("data", take).off("end", end);
        resolve(answer);
      };
      const take = (chunk: string) => {
        said += chunk;
        if (said.endsWith("\n.\n")) {
          answer({ lines: said.slice(0, -3).split("\n") });
        } else if (said.length > answerLimit) {
          answer({ silentBecause: "its supervisor's answer is too long" });
        }
      };
      const end = () => {
        void this.#gone.then((why) => answer({ silentBecause: why }));
      };
      const timer = setTimeout(
        answer,
        Math.max(0, deadline - Date.now()),
        { silentBecause: `it was not ready after ${startDeadlineMs / 1000} s` },
      );
      stdout?.setEncoding("utf8").on("data", take).once("end", end);
      // A shell that never started ends its output without an event.
      if (this.#shell.pid === undefined || stdout?.readableEnded) end();
      stdin?.write("ready?\n");
    });
  }

  #failure(phase: string, status: string, lines: string[]): Error {
    const log = redact(
      lines.slice(-logTailLines).map((line) => line.slice(1)).join("\n"),
      this.#plan.settings,
    ).trimEnd();
    if (phase === "run") return tmpUnusable(log);
    if (phase !== "settings") {
      return notStarted(`${phase} ended with status ${status}`, log);
    }
    // The shell's own statuses for a program that the system can't run.
    const [reason, why] = status === "126" || status === "127"
      ? [
        "binaries_do_not_run",
        `the binaries for ${process.platform}-${process.arch} do not run on this system; use the url of a PostgreSQL server of your own`,
      ]
      : ["invalid_settings", "the server refuses the settings"];
    return badConfig(
      reason,
      `Cannot start the embedded PostgreSQL: ${why}\n${log}`,
      { log },
    );
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
    // Data that will be deleted need no checkpoint.
    plan.cluster === "temporary" ? "QUIT" : "INT",
    plan.binaries.native,
    ...plan.binaries.links,
    "--",
    ...plan.fixed.flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
}

function notStarted(why: string, log: string): Error {
  return unavailable(
    "server_did_not_start",
    `Cannot start the embedded PostgreSQL: ${why}\n${log}`.trimEnd(),
    { log },
  );
}
