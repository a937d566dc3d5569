/** The rows of the table, and the goals of each. */

import type { Fixtures } from "../fixtures.ts";
import type { Target } from "../target.ts";
import {
  manyInserts,
  oneInsertEach,
  oneSwapEach,
  parallelInserts,
  pipelinedInserts,
  pipelinedSwaps,
  singleInserts,
} from "../limits/pgbench.ts";
import { plainInsertName } from "../limits/plain_insert.ts";
import { lockedName, uncheckedName } from "../limits/unchecked.ts";
import { copyIn, copyOut, rawCopyIn, rawCopyOut } from "../limits/psql.ts";
import type { Shape } from "../insert_streams.ts";
import type { Sizes } from "../sizes.ts";
import {
  baselineName,
  type BatchVariant,
  type Goal,
  type MeasuredStorage,
  type MeasuredWrites,
  storeName,
  type ToolVariant,
  type Variant,
  type Workload,
} from "../workload.ts";
import { writesAfter, writesIntoOne, writeThenRead } from "./growth.ts";
import { preparedStreams, rangeReads, streamReads } from "./reads.ts";
import {
  creations,
  type EventWrites,
  eventWrites,
  manyBlockWrites,
  minipoolSwaps,
} from "./writes.ts";

const kib = 1024;

/** Compares the hot paths with the baseline and with the limits. */
export function tableWorkloads(fixtures: Fixtures): Workload[] {
  const { setup, sizes, tools, scratch } = fixtures;
  const limits: Record<string, Variant[]> = {
    "write-event-many": [fixtures.plain, manyInserts(fixtures, sizes.writers)],
    "write-event-alone": [oneInsertEach(fixtures)],
    "write-event-few": [oneInsertEach(fixtures, sizes.fewWriters)],
    "write-miniblocks-one": [
      oneSwapEach(fixtures, {
        streams: sizes.fewWriters,
        events: sizes.minipoolEvents,
      }),
    ],
    "write-miniblocks-many": [
      copyIn(setup, tools, scratch, {
        blocks: sizes.manyBlocks,
        blockBytes: 10 * kib,
      }),
    ],
    "read-miniblocks": [copyOutOf(fixtures)],
  };
  for (const { id, variant, goals } of writePaths(sizes)) {
    for (const target of [fixtures.unchecked, fixtures.locked]) {
      if (goals.every(([name]) => name !== target.name)) continue;
      (limits[id] ??= []).push(variant(target));
    }
  }
  return hotPaths(sizes).map(({ variant, goals, ...row }) => ({
    ...row,
    goals: goals.map(([to, atLeast]) => ({
      of: storeName,
      to,
      measure: "throughput",
      ...(atLeast === undefined ? {} : { atLeast }),
    })),
    variants: [
      variant(fixtures.store),
      variant(fixtures.nodeWay),
      ...limits[row.id] ?? [],
    ],
  }));
}

/**
 * Copies blocks out. The first measurement, in the warm-up, inserts the
 * streams.
 */
function copyOutOf({ setup, sizes, tools, scratch }: Fixtures): ToolVariant {
  const streams = preparedStreams(setup, sizes.fewWriters, largeBlocks(sizes));
  return {
    name: rawCopyOut,
    async measure(seconds) {
      const streamIds = await streams.streamIds();
      return await copyOut(setup, tools, scratch, streamIds).measure(seconds);
    },
  };
}

/** A row of the table, for any target. */
export interface HotPath<S = MeasuredStorage> {
  id: string;
  title: string;
  unit: string;
  variant(target: Target<S>): BatchVariant;
  /**
   * Variants, and the part of their throughput that the store must reach, if
   * any.
   */
  goals: [variant: string, atLeast?: number][];
}

const largeBlocks = (sizes: Sizes): Shape => ({
  miniblocks: sizes.manyBlocks,
  miniblockBytes: 10 * kib,
});

/** The hot write and read paths. */
export function hotPaths(sizes: Sizes): HotPath[] {
  return [...writePaths(sizes), ...readPaths(sizes)];
}

/** The hot write paths. */
export function writePaths(sizes: Sizes): HotPath<MeasuredWrites>[] {
  return [...eventPaths(sizes), ...blockPaths(sizes)];
}

function eventPaths(sizes: Sizes): HotPath<MeasuredWrites>[] {
  const { writers, fewWriters, calls } = sizes;
  const events = sizes.minipoolEvents;
  const streamsOf = (share: number) => Math.max(1, Math.ceil(share / events));
  return [
    {
      id: "write-event-many",
      title: `writeEvent, ${writers} streams at once, 1 KB`,
      unit: "events",
      variant: (target) =>
        eventWrites(target, { clients: writers, streamsPerClient: 1, events }),
      goals: [
        [baselineName, 12],
        [plainInsertName, 2.5],
        [pipelinedInserts, 0.33],
        [uncheckedName],
        [lockedName],
      ],
    },
    {
      id: "write-event-alone",
      title: "writeEvent, one stream, one at a time, 1 KB",
      unit: "events",
      variant: (target) =>
        eventWrites(target, {
          clients: 1,
          streamsPerClient: 1,
          events: calls,
        }),
      goals: [[baselineName, 3], [singleInserts], [uncheckedName], [
        lockedName,
      ]],
    },
    {
      id: "write-event-few",
      title: `writeEvent, ${fewWriters} streams at once, 1 KB`,
      unit: "events",
      variant: (target) =>
        eventWrites(target, {
          clients: fewWriters,
          streamsPerClient: streamsOf(calls),
          events,
        }),
      goals: [[baselineName, 5], [parallelInserts], [uncheckedName], [
        lockedName,
      ]],
    },
  ];
}

function blockPaths(sizes: Sizes): HotPath<MeasuredWrites>[] {
  const { creators, calls, manyBlocks, minipoolEvents: events } = sizes;
  return [
    {
      id: "write-miniblocks-one",
      title: `writeMiniblocks, 1 block of 10 KB, ${events} events of 1 KB ` +
        "swapped",
      unit: "calls",
      variant: (target) => minipoolSwaps(target, { calls, events }),
      goals: [[baselineName, 4], [pipelinedSwaps], [uncheckedName], [
        lockedName,
      ]],
    },
    {
      id: "write-miniblocks-many",
      title: `writeMiniblocks, ${manyBlocks} blocks of 10 KB in one call`,
      unit: "calls",
      variant: (target) =>
        manyBlockWrites(target, {
          calls: Math.ceil(calls / 10),
          blocks: manyBlocks,
        }),
      goals: [[rawCopyIn, 0.8]],
    },
    {
      id: "create-stream",
      title: `createStreamStorage, ${creators} at once`,
      unit: "streams",
      variant: (target) =>
        creations(target, {
          clients: creators,
          calls: Math.ceil(calls / 20),
        }),
      goals: [[baselineName, 4], [uncheckedName]],
    },
  ];
}

/** The hot read paths. */
export function readPaths(sizes: Sizes): HotPath[] {
  const { readers, calls, manyBlocks } = sizes;
  const streamRows = [
    { size: 2, must: [5, 6], calls },
    { size: 50, must: [3, 7], calls: Math.ceil(calls / 4) },
  ].flatMap(({ size, must, calls }) => {
    const shape = {
      miniblocks: 10,
      miniblockBytes: size * kib,
      events: 10,
      eventBytes: size * kib,
    };
    const title = `readStreamFromLastSnapshot, 10 blocks + 10 events of ` +
      `${size} KB`;
    return [
      { id: `read-stream-${size}k`, title: `${title}, alone`, clients: 1 },
      {
        id: `read-stream-${size}k-many`,
        title: `${title}, ${readers} at once`,
        clients: readers,
      },
    ].map(({ id, title, clients }, i): HotPath => ({
      id,
      title,
      unit: "reads",
      variant: (target) =>
        streamReads(target, preparedStreams(target.setup, readers, shape), {
          clients,
          calls: clients === 1 ? calls : Math.ceil(calls / 20),
        }),
      goals: [[baselineName, must[i]!]],
    }));
  });
  return [...streamRows, {
    id: "read-miniblocks",
    title: `readMiniblocks, ${manyBlocks} blocks of 10 KB`,
    unit: "reads",
    variant: (target) =>
      rangeReads(
        target,
        preparedStreams(target.setup, sizes.fewWriters, largeBlocks(sizes)),
        { clients: 1, calls: Math.ceil(calls / 5) },
      ),
    goals: [[baselineName, 4], [rawCopyOut, 0.7]],
  }];
}

/** A goal for a ratio of times, with its upper bound, if any. */
function growth(of: string, to: string, atMost?: number): Goal {
  return {
    of,
    to,
    measure: "time",
    ...(atMost === undefined ? {} : { atMost }),
  };
}

/** Compares the store with itself with more rows or more connections. */
export function growthWorkloads(fixtures: Fixtures): Workload[] {
  return [...withMoreRows(fixtures), withMoreConnections(fixtures)];
}

function withMoreRows({ store, sizes }: Fixtures): Workload[] {
  const { largeMinipool, longStream, calls } = sizes;
  const few = "minipool of 10";
  const many = `minipool of ${largeMinipool}`;
  const short = "10 blocks";
  const long = `${longStream} blocks`;
  return [
    {
      id: "large-minipool",
      title: `writeEvent into a minipool of ${largeMinipool} events`,
      unit: "events",
      variants: [
        writesAfter({ ...store, name: few }, { present: 10, calls }),
        writesIntoOne({ ...store, name: many }, {
          present: largeMinipool,
          calls,
        }),
      ],
      goals: [growth(many, few, 1.3)],
    },
    {
      id: "long-stream",
      title: `A block written and the last 10 read, stream of ${longStream}`,
      unit: "calls",
      variants: [
        writeThenRead({ ...store, name: short }, {
          present: 10,
          isKept: false,
          calls,
        }),
        writeThenRead({ ...store, name: long }, {
          present: longStream,
          isKept: true,
          calls,
        }),
      ],
      goals: [growth(long, short)],
    },
  ];
}

function withMoreConnections(fixtures: Fixtures): Workload {
  const { store, sizes } = fixtures;
  const usual = "10 connections";
  const wide = `${sizes.manyConnections} connections`;
  const load = {
    clients: sizes.writers,
    streamsPerClient: 1,
    events: sizes.minipoolEvents,
  };
  return {
    id: "connections",
    title: `writeEvent, ${sizes.writers} streams, ` +
      `${sizes.manyConnections} connections`,
    unit: "events",
    variants: [
      eventWrites({ ...store, name: usual }, load),
      withManyConnections(fixtures, wide, load),
    ],
    goals: [growth(wide, usual)],
  };
}

function withManyConnections(
  { wideSetup }: Fixtures,
  name: string,
  load: EventWrites,
): BatchVariant {
  let variant: BatchVariant | undefined;
  return {
    name,
    async nextBatch() {
      const setup = await wideSetup();
      variant ??= eventWrites({ name, storage: setup.storage, setup }, load);
      return await variant.nextBatch();
    },
  };
}
