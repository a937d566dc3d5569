import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { NetworkNames } from "./network.ts";

/**
 * Waits for the end of its input, which comes with our process at the latest,
 * then kills all that runs in the namespaces, and removes these, the shared
 * memory that a killed server leaves, and the data.
 */
const script = `
base=$1
link=$2
shift 2
PATH=$PATH:/usr/sbin:/sbin
read -r _
for try in 1 2 3 4 5 6 7 8 9 10; do
  pids=
  for name in "$@"; do pids="$pids $(ip netns pids "$name")"; done
  [ -n "$(echo $pids)" ] || break
  kill -KILL $pids
  sleep 0.05
done
for file in "$base"/*/data/postmaster.pid; do
  [ -e "$file" ] && ipcrm -m "$(sed -n '7s/^ *[0-9]* *//p' "$file")"
done
for name in "$@"; do ip netns del "$name"; done
ip link del "$link"
rm -rf "$base"
`;

/**
 * Leaves nothing behind, even when our process is killed: servers outlive the
 * process that started them, and namespaces all of them.
 */
export class Janitor implements AsyncDisposable {
  readonly #shell: ChildProcess;
  readonly #ended: Promise<unknown>;

  /** `base` is the directory of the run, with one for each server in it. */
  constructor(base: string, { namespaces, link }: NetworkNames) {
    this.#shell = spawn(
      "/bin/sh",
      ["-c", script, "failover-janitor", base, link, ...namespaces],
      {
        cwd: "/",
        detached: true, // Ctrl-C is for us, and our end ends it
        stdio: ["pipe", "ignore", "ignore"],
      },
    );
    this.#shell.stdin?.on("error", () => {}); // its end tells
    this.#ended = once(this.#shell, "exit");
  }

  /** Cleans up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell.stdin?.end();
    await this.#ended;
  }
}
