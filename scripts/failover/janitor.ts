import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { NetworkNames } from "./network.ts";

/**
 * Waits for the end of its input, which at the latest is the end of this
 * process. Then kills everything that runs in the namespaces, and removes the
 * namespaces, the shared memory that a killed server leaves, and the data.
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
 * Cleans up, even if this process is killed: servers outlive the process that
 * started them, and namespaces outlive all processes.
 */
export class Janitor implements AsyncDisposable {
  readonly #shell: ChildProcess;
  readonly #ended: Promise<unknown>;

  /** `base` is the directory of the run, which has one for each server. */
  constructor(base: string, { namespaces, link }: NetworkNames) {
    this.#shell = spawn(
      "/bin/sh",
      ["-c", script, "failover-janitor", base, link, ...namespaces],
      {
        cwd: "/",
        detached: true, // Ctrl-C ends this process, and then its input ends
        stdio: ["pipe", "ignore", "ignore"],
      },
    );
    this.#shell.stdin?.on("error", () => {}); // its exit is noticed anyway
    this.#ended = once(this.#shell, "exit");
  }

  /** Cleans up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell.stdin?.end();
    await this.#ended;
  }
}
