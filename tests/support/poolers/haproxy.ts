/** A test's own HAProxy in front of a server. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import {
  freePort,
  takesConnections,
  throughPort,
} from "../network/listener.ts";

/** A running HAProxy. */
export interface HaProxy extends AsyncDisposable {
  /** The server's URL through it. */
  url: string;
}

/** Debian installs it outside of an ordinary user's path. */
const environment = { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

/** Why HAProxy can't be used; undefined if it can. */
export function whyNoHaProxy(): string | undefined {
  const { status } = spawnSync("haproxy", ["-v"], { env: environment });
  return status === 0
    ? undefined
    : "HAProxy is missing: apt-get install haproxy";
}

/** Starts HAProxy, which cuts connections that are idle for this long. */
export async function startHaProxy(
  serverUrl: string,
  { idleMs }: { idleMs: number },
): Promise<HaProxy> {
  const directory = await mkdtemp(join(tmpdir(), "haproxy-"));
  const file = join(directory, "haproxy.cfg");
  const url = new URL(serverUrl);
  const port = await freePort();
  await writeFile(
    file,
    `defaults
  mode tcp
  timeout connect 5s
  timeout client ${idleMs}ms
  timeout server ${idleMs}ms
frontend clients
  bind 127.0.0.1:${port}
  default_backend servers
backend servers
  server one ${url.host}
`,
  );
  const child = spawn("haproxy", ["-db", "-f", file], {
    cwd: "/",
    env: environment,
    stdio: "ignore",
  });
  const ended = once(child, "exit");
  await listening(port, ended);
  return {
    url: throughPort(serverUrl, port),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
      await rm(directory, { recursive: true });
    },
  };
}

async function listening(
  port: number,
  ended: Promise<unknown>,
): Promise<void> {
  let isEnded = false;
  void ended.then(() => isEnded = true);
  while (!await takesConnections(port)) {
    if (isEnded) throw new Error("HAProxy did not start");
    await delay(5);
  }
}
