/**
 * Runs a store whose telemetry you can look at, under Deno. The store does some
 * work all the time. The program logs the store's events as lines of JSON and
 * serves Prometheus' text; Deno's OpenTelemetry exports metrics, spans and the
 * log lines.
 *
 * ```sh
 * OTEL_DENO=true OTEL_SERVICE_NAME=towns-node deno run -A scripts/observe.ts
 * ```
 *
 * Without an address (see `urlUsage`) the program starts an embedded server.
 * OTEL_EXPORTER_OTLP_ENDPOINT says where Deno sends its data, by default to
 * http://localhost:4318. The program ends when its input ends.
 */
import { setTimeout } from "node:timers/promises";
import type { Logger, PostgresStreamStorage } from "../mod.ts";
import { prometheusHandler } from "../src/telemetry/mod.ts";
import { newStreamId } from "../src/testing/contract/support.ts";
import { createTestStreamStorage } from "../src/testing/mod.ts";
import { parseArguments } from "./arguments.ts";
import { connectionUrl, urlOptions } from "./connection_url.ts";

const bytes = new TextEncoder().encode("event");

/** Creates a stream, writes some events, reads, and makes a call that fails. */
async function work(storage: PostgresStreamStorage): Promise<void> {
  const id = newStreamId();
  const genesis = { number: 0n, data: bytes, snapshot: bytes };
  await storage.createStreamStorage(id, genesis);
  const slots = Array.from({ length: 20 }, (_, slot) => slot);
  await Promise.all(
    slots.map((slot) => storage.writeEvent(id, 1n, slot, bytes)),
  );
  await storage.readStreamFromLastSnapshot(id, 0);
  await storage.writeEvent(id, 1n, 0, bytes).catch(() => {});
  await storage.deleteStream(id);
}

async function main(args: string[]): Promise<void> {
  const { values } = parseArguments({ args, options: urlOptions });
  const url = await connectionUrl(values);
  // Deno also exports console output as OpenTelemetry logs.
  const logger: Logger = (event) => console.log(JSON.stringify(event));
  await using test = await createTestStreamStorage({
    ...(url === undefined ? {} : { url }),
    startupDelayMs: 0,
    ephemeralSweepIntervalMs: 1000,
    logger,
  });
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) =>
      console.log(`Metrics at http://127.0.0.1:${port}/metrics`),
  }, prometheusHandler(test.storage));
  const ended = new AbortController();
  void Deno.stdin.readable.pipeTo(new WritableStream())
    .finally(() => ended.abort());
  while (!ended.signal.aborted) {
    await work(test.storage);
    await setTimeout(200, undefined, { signal: ended.signal }).catch(() => {});
  }
  await server.shutdown();
}

await main(Deno.args);
