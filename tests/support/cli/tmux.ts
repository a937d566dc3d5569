/** A real terminal of a given size; a test sees in it what a person would. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { promisify } from "node:util";
import { setTimeout as delay } from "node:timers/promises";

const run = promisify(execFile);

/** Whether tmux is installed; without it, tests are skipped by name. */
export const hasTmux = (() => {
  try {
    execFileSync("tmux", ["-V"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** A shell in a terminal. */
export class Tmux implements AsyncDisposable {
  readonly #socket = `stream-storage-${randomUUID()}`;

  private constructor() {}

  /** Starts a shell with these variables. */
  static async start(
    { columns, rows }: { columns: number; rows: number },
    env: Record<string, string>,
  ): Promise<Tmux> {
    const tmux = new Tmux();
    const variables = Object.entries(env).flatMap(([name, value]) => [
      ...["-e", `${name}=${value}`],
    ]);
    const size = ["-x", String(columns), "-y", String(rows)];
    await tmux.#tmux("new-session", "-d", ...size, ...variables, "sh");
    return tmux;
  }

  /** Types text. */
  async type(text: string): Promise<void> {
    await this.#tmux("send-keys", "-l", text);
  }

  /** Presses a key by its name: `Enter`, `C-c`. */
  async press(key: string): Promise<void> {
    await this.#tmux("send-keys", key);
  }

  /** Makes the window larger or smaller. */
  async resize(columns: number, rows: number): Promise<void> {
    const size = ["-x", String(columns), "-y", String(rows)];
    await this.#tmux("resize-window", ...size);
  }

  /** The text on the screen. */
  async screen(): Promise<string> {
    return await this.#tmux("capture-pane", "-p");
  }

  /** The text on the screen, with colours as escapes. */
  async colours(): Promise<string> {
    return await this.#tmux("capture-pane", "-p", "-e");
  }

  /** The printed lines; a line that the terminal has wrapped is one line. */
  async lines(): Promise<string[]> {
    const text = await this.#tmux("capture-pane", "-p", "-J");
    return text.trimEnd().split("\n").map((line) => line.trimEnd());
  }

  /** Waits until the screen matches, and returns its text. */
  async shows(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const screen = await this.screen();
      if (pattern.test(screen)) return screen;
      assert.ok(
        performance.now() < deadline,
        `Expected ${pattern} on the screen:\n${screen}`,
      );
      await delay(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux("kill-server");
  }

  async #tmux(...args: string[]): Promise<string> {
    const { stdout } = await run("tmux", ["-L", this.#socket, ...args]);
    return stdout;
  }
}
