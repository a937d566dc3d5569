/**
 * Measures how long large calls block the event loop: the longest time between
 * two turns of the loop. The result is the minimum of some rounds, because
 * other processes can only lengthen it.
 *
 * ```sh
 * deno run -A scripts/with_postgres.ts deno run -A --no-check scripts/pauses.ts
 * ```
 */
import process from "node:process";
import { openStreamStorage, parseStreamId, type StreamId } from "../mod.ts";
import { testDatabaseUrl } from "../tests/support/database.ts";

const rounds = Number(process.env["ROUNDS"] ?? 3);
const only = process.env["ONLY"] ?? "";
const events = 40_000;
const blocks = 100_000;
const payload = new Uint8Array(100).fill(7);

let counter = 0;

function newId(): StreamId {
  const unique = `${Date.now()}${counter++}`.padStart(40, "0");
  return parseStreamId(`20${unique.padEnd(62, "0")}`);
}

/**
 * Measures the longest time without a turn of the event loop while `body` runs.
 */
async function longestPause(body: () => Promise<unknown>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const turn = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(turn, 1);
  // The garbage of the preparation may still be collected. That pause does not
  // count.
  await new Promise((resolve) => setTimeout(resolve, 50));
  longest = 0;
  await body();
  turn();
  clearInterval(timer);
  return longest;
}

const storage = await openStreamStorage({
  url: await testDatabaseUrl(),
  schema: `pauses_${Date.now()}`,
  partitions: 4,
  startupDelayMs: 0,
  operationTimeoutMs: 120_000,
});

const genesis = { number: 0n, data: payload, snapshot: payload };
const many = Array.from({ length: blocks }, (_, i) => ({
  number: BigInt(i + 1),
  data: payload,
}));
const envelopes = Array.from({ length: blocks }, () => payload);
const next = BigInt(blocks + 1);

async function created(): Promise<StreamId> {
  const id = newId();
  await storage.createStreamStorage(id, genesis);
  return id;
}

async function filled(): Promise<StreamId> {
  const id = await created();
  await storage.writeMiniblocks(
    id,
    many,
    { generation: next, envelopes },
    { generation: 1n },
  );
  return id;
}

type Case = [name: string, prepare: () => Promise<() => Promise<unknown>>];

const cases: Case[] = [
  [`${events} events of one stream at once`, async () => {
    const id = await created();
    return () =>
      Promise.all(Array.from(
        { length: events },
        (_, slot) => storage.writeEvent(id, 1n, slot, payload),
      ));
  }],
  [`${events} events of 2000 streams at once`, async () => {
    const ids = await Promise.all(Array.from({ length: 2000 }, created));
    return () =>
      Promise.all(Array.from(
        { length: events },
        (_, i) =>
          storage.writeEvent(
            ids[i % ids.length]!,
            1n,
            Math.floor(i / ids.length),
            payload,
          ),
      ));
  }],
  [`writeMiniblocks of ${blocks} blocks`, async () => {
    const id = await created();
    return () =>
      storage.writeMiniblocks(
        id,
        many,
        { generation: next, envelopes: [] },
        { generation: 1n },
      );
  }],
  [`writeMiniblocks with ${blocks} events`, async () => {
    const id = await created();
    return () =>
      storage.writeMiniblocks(
        id,
        [many[0]!],
        { generation: 2n, envelopes },
        { generation: 1n },
      );
  }],
  [`reinitializeStreamStorage of ${blocks} blocks`, () => {
    const id = newId();
    const given = [{ ...many[0]!, snapshot: payload }, ...many.slice(1)];
    return Promise.resolve(() =>
      storage.reinitializeStreamStorage(id, given, 1n, false)
    );
  }],
  [`readMiniblocks of ${blocks} blocks`, async () => {
    const id = await filled();
    return () => storage.readMiniblocks(id, 0n, next);
  }],
  [`readStreamFromLastSnapshot of ${blocks} blocks and events`, async () => {
    const id = await filled();
    return () => storage.readStreamFromLastSnapshot(id, 0);
  }],
];

for (const [name, prepare] of cases) {
  if (!name.includes(only)) continue;
  const pauses: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const body = await prepare();
    pauses.push(await longestPause(body));
  }
  const shown = pauses.map((ms) => ms.toFixed(0)).join(", ");
  console.log(
    `${Math.min(...pauses).toFixed(0).padStart(5)} ms  ${name}  (${shown})`,
  );
}
await storage.close();
process.exit();
