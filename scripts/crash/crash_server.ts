import { setTimeout as delay } from "node:timers/promises";
import { type Proxy, startProxy } from "../../tests/support/network/proxy.ts";
import { Random } from "../../tests/support/random.ts";
import {
  addCalls,
  type CrashOptions,
  type CrashReport,
  newReport,
} from "./run.ts";
import { CrashServer } from "../../tests/support/servers/crash_server.ts";
import { StoreUnderLoad } from "./store_under_load.ts";

/**
 * Kills the whole server with SIGKILL under load, again and again, and lets the
 * same stores connect again. One store retries as often as by default, so that
 * its callers notice little. The other gives up at once, so that its callers
 * get failures and unknown outcomes. After each restart the program compares
 * the stored rows with the results of the calls.
 *
 * A kill rarely hits the short time between a commit and its answer. So the
 * second store works through a proxy that delays answers and loses them at each
 * kill.
 *
 * @throws {BrokenPromise} for example, an acknowledged write is gone.
 */
export async function crashServer(options: CrashOptions): Promise<CrashReport> {
  const { seed, settings = {}, streams } = options;
  const started = performance.now();
  await using server = await CrashServer.start({ settings });
  await using proxy = await startProxy(server.url);
  proxy.setRule(({ type }) => type === "Z" ? { delayMs: 3 } : "forward");
  const load = { seed, streams: Math.ceil(streams / 2) };
  await using patient = await StoreUnderLoad.open({
    ...load,
    url: server.url,
    schema: "patient",
  });
  await using hasty = await StoreUnderLoad.open({
    ...load,
    url: proxy.url,
    schema: "hasty",
    retry: { attempts: 1 },
  });
  const stores = [patient, hasty];
  // The first kill should not hit the opening, which is not tested here.
  await server.query("CHECKPOINT");
  const random = new Random(seed);
  const report = newReport("server", seed);
  while (report.kills < options.kills) {
    for (const store of stores) store.resume();
    const writes = random.between(1, 300);
    await Promise.all(stores.map(({ account }) => account.more(writes)));
    await crash({ server, proxy }, random, options, report);
    const restarted = performance.now();
    await Promise.all(stores.map(async ({ account }) => {
      await account.more(1);
      const recovery = performance.now() - restarted;
      report.longestRecoveryMs = Math.max(report.longestRecoveryMs, recovery);
    }));
    for (const store of stores) await store.check(report.checks);
  }
  for (const { ledger, account } of stores) addCalls(report, ledger, account);
  report.elapsedMs = performance.now() - started;
  return report;
}

/** Kills the server; sometimes again while it recovers. */
async function crash(
  { server, proxy }: { server: CrashServer; proxy: Proxy },
  random: Random,
  { kills, onKill }: CrashOptions,
  report: CrashReport,
): Promise<void> {
  const kill = async () => {
    proxy.cutAll();
    await server.crash();
    report.kills++;
    onKill?.(report.kills);
  };
  await kill();
  await delay(random.mostlySmall(0, 300));
  while (report.kills < kills && random.chance(20)) {
    await server.restart();
    report.killsInRecovery++;
    await kill();
  }
  await server.restart();
}
