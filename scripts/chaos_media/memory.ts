/** Measures how much memory processes take. */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { queryOnce } from "../../tests/support/database.ts";

/** The memory of a process, in megabytes. */
export interface Memory {
  rssMb: number;
  heapMb: number;
  externalMb: number;
}

interface Collecting {
  /** Deno's, with `--v8-flags=--expose-gc`. */
  gc?: () => void;
  Bun?: { gc(isNow: boolean): void };
  Deno?: typeof Deno;
}

/**
 * Returns freed memory to the system, if the C library is glibc. Otherwise the
 * process keeps most of it, and that would look like a leak.
 */
function giveBack({ Deno }: Collecting): void {
  try {
    const libc = Deno?.dlopen("libc.so.6", {
      malloc_trim: { parameters: ["usize"], result: "i32" },
    });
    libc?.symbols.malloc_trim(0n);
    libc?.close();
  } catch {
    // Without glibc the figure is less exact.
  }
}

/**
 * Measures this process, without garbage and freed memory if the runtime allows
 * it.
 */
export function ownMemory(): Memory {
  const { gc, Bun } = globalThis as Collecting;
  if (Bun !== undefined) Bun.gc(true);
  else gc?.();
  giveBack(globalThis as Collecting);
  const { rss, heapUsed, external } = process.memoryUsage();
  const mb = (bytes: number) => Math.round(bytes / 1e6);
  return { rssMb: mb(rss), heapMb: mb(heapUsed), externalMb: mb(external) };
}

/**
 * Measures the memory of the server's processes for all sessions in the
 * database, without shared buffers. Undefined if the system does not show it.
 */
export async function sessionsMb(url: string): Promise<number | undefined> {
  const rows = await queryOnce(
    url,
    `SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  let kilobytes = 0;
  for (const { pid } of rows) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() =>
      undefined
    );
    const found = /^RssAnon:\s+(\d+) kB/m.exec(status ?? "");
    if (found !== null) kilobytes += Number(found[1]);
  }
  return kilobytes === 0 ? undefined : Math.round(kilobytes / 1000);
}
