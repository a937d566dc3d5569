/** The rows of the table, with what each must reach. */

import type { Arena } from "../arena.ts";
import type { Entrant } from "../entrant.ts";
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
import type { Shape } from "../plant.ts";
import type { Sizes } from "../sizes.ts";
import {
  baseline,
  type BatchContender,
  type Contender,
  type Goal,
  ours,
  type Subject,
  type ToolContender,
  type Workload,
  type WriteSubject,
} from "../workload.ts";
import { lifeOfStream, writesAfter, writesIntoOne } from "./growth.ts";
import { planted, rangeReads, streamReads } from "./reads.ts";
import {
  creations,
  type EventWrites,
  eventWrites,
  manyBlockWrites,
  minipoolSwaps,
} from "./writes.ts";

const kib = 1024;

/** The hot paths against the baseline and the limits. */
export function tableWorkloads(arena: Arena): Workload[] {
  const { site, sizes, tools, scratch } = arena;
  const limits: Record<string, Contender[]> = {
    "write-event-many": [arena.plain, manyInserts(arena, sizes.writers)],
    "write-event-alone": [oneInsertEach(arena)],
    "write-event-few": [oneInsertEach(arena, sizes.fewWriters)],
    "write-miniblocks-one": [
      oneSwapEach(arena, {
        streams: sizes.fewWriters,
        events: sizes.minipoolEvents,
      }),
    ],
    "write-miniblocks-many": [
      copyIn(site, tools, scratch, {
        blocks: sizes.manyBlocks,
        blockBytes: 10 * kib,
      }),
    ],
    "read-miniblocks": [copyOutOf(arena)],
  };
  for (const { id, contender, goals } of writePaths(sizes)) {
    for (const entrant of [arena.unchecked, arena.locked]) {
      if (goals.every(([name]) => name !== entrant.name)) continue;
      (limits[id] ??= []).push(contender(entrant));
    }
  }
  return hotPaths(sizes).map(({ contender, goals, ...row }) => ({
    ...row,
    goals: goals.map(([to, atLeast]) => ({
      of: ours,
      to,
      measure: "throughput",
      ...(atLeast === undefined ? {} : { atLeast }),
    })),
    contenders: [
      contender(arena.store),
      contender(arena.nodeWay),
      ...limits[row.id] ?? [],
    ],
  }));
}

/** The planted streams are made on the first reading, so in the warm-up. */
function copyOutOf({ site, sizes, tools, scratch }: Arena): ToolContender {
  const streams = planted(site, sizes.fewWriters, largeBlocks(sizes));
  return {
    name: rawCopyOut,
    async measure(seconds) {
      const streamIds = await streams.streamIds();
      return await copyOut(site, tools, scratch, streamIds).measure(seconds);
    },
  };
}

/** A row for any entrant. */
export interface HotPath<S = Subject> {
  id: string;
  title: string;
  unit: string;
  contender(entrant: Entrant<S>): BatchContender;
  /** Contenders and the part of their throughput that must be reached, if any. */
  goals: [contender: string, atLeast?: number][];
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
export function writePaths(sizes: Sizes): HotPath<WriteSubject>[] {
  return [...eventPaths(sizes), ...blockPaths(sizes)];
}

function eventPaths(sizes: Sizes): HotPath<WriteSubject>[] {
  const { writers, fewWriters, calls } = sizes;
  const events = sizes.minipoolEvents;
  const streamsOf = (share: number) => Math.max(1, Math.ceil(share / events));
  return [
    {
      id: "write-event-many",
      title: `writeEvent, ${writers} streams at once, 1 KB`,
      unit: "events",
      contender: (entrant) =>
        eventWrites(entrant, { clients: writers, streamsPerClient: 1, events }),
      goals: [
        [baseline, 12],
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
      contender: (entrant) =>
        eventWrites(entrant, {
          clients: 1,
          streamsPerClient: 1,
          events: calls,
        }),
      goals: [[baseline, 3], [singleInserts], [uncheckedName], [lockedName]],
    },
    {
      id: "write-event-few",
      title: `writeEvent, ${fewWriters} streams at once, 1 KB`,
      unit: "events",
      contender: (entrant) =>
        eventWrites(entrant, {
          clients: fewWriters,
          streamsPerClient: streamsOf(calls),
          events,
        }),
      goals: [[baseline, 5], [parallelInserts], [uncheckedName], [lockedName]],
    },
  ];
}

function blockPaths(sizes: Sizes): HotPath<WriteSubject>[] {
  const { creators, calls, manyBlocks, minipoolEvents: events } = sizes;
  return [
    {
      id: "write-miniblocks-one",
      title: `writeMiniblocks, 1 block of 10 KB, ${events} events of 1 KB ` +
        "swapped",
      unit: "calls",
      contender: (entrant) => minipoolSwaps(entrant, { calls, events }),
      goals: [[baseline, 4], [pipelinedSwaps], [uncheckedName], [lockedName]],
    },
    {
      id: "write-miniblocks-many",
      title: `writeMiniblocks, ${manyBlocks} blocks of 10 KB in one call`,
      unit: "calls",
      contender: (entrant) =>
        manyBlockWrites(entrant, {
          calls: Math.ceil(calls / 10),
          blocks: manyBlocks,
        }),
      goals: [[rawCopyIn, 0.8]],
    },
    {
      id: "create-stream",
      title: `createStreamStorage, ${creators} at once`,
      unit: "streams",
      contender: (entrant) =>
        creations(entrant, {
          clients: creators,
          calls: Math.ceil(calls / 20),
        }),
      goals: [[baseline, 4], [uncheckedName]],
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
      contender: (entrant) =>
        streamReads(entrant, planted(entrant.site, readers, shape), {
          clients,
          calls: clients === 1 ? calls : Math.ceil(calls / 20),
        }),
      goals: [[baseline, must[i]!]],
    }));
  });
  return [...streamRows, {
    id: "read-miniblocks",
    title: `readMiniblocks, ${manyBlocks} blocks of 10 KB`,
    unit: "reads",
    contender: (entrant) =>
      rangeReads(
        entrant,
        planted(entrant.site, sizes.fewWriters, largeBlocks(sizes)),
        { clients: 1, calls: Math.ceil(calls / 5) },
      ),
    goals: [[baseline, 4], [rawCopyOut, 0.7]],
  }];
}

/** A ratio of times that may not exceed its bound. */
function growth(of: string, to: string, atMost?: number): Goal {
  return {
    of,
    to,
    measure: "time",
    ...(atMost === undefined ? {} : { atMost }),
  };
}

/** The store against itself with more in its tables or more connections. */
export function growthWorkloads(arena: Arena): Workload[] {
  const { store, sizes } = arena;
  const { largeMinipool, longStream, calls } = sizes;
  const few = "minipool of 10";
  const many = `minipool of ${largeMinipool}`;
  const short = "10 blocks";
  const long = `${longStream} blocks`;
  const usual = "10 connections";
  const wide = `${sizes.manyConnections} connections`;
  const load = {
    clients: sizes.writers,
    streamsPerClient: 1,
    events: sizes.minipoolEvents,
  };
  return [
    {
      id: "large-minipool",
      title: `writeEvent into a minipool of ${largeMinipool} events`,
      unit: "events",
      contenders: [
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
      contenders: [
        lifeOfStream({ ...store, name: short }, {
          present: 10,
          isKept: false,
          calls,
        }),
        lifeOfStream({ ...store, name: long }, {
          present: longStream,
          isKept: true,
          calls,
        }),
      ],
      goals: [growth(long, short)],
    },
    {
      id: "connections",
      title: `writeEvent, ${sizes.writers} streams, ` +
        `${sizes.manyConnections} connections`,
      unit: "events",
      contenders: [
        eventWrites({ ...store, name: usual }, load),
        onWideSite(arena, wide, load),
      ],
      goals: [growth(wide, usual)],
    },
  ];
}

function onWideSite(
  { wideSite }: Arena,
  name: string,
  load: EventWrites,
): BatchContender {
  let contender: BatchContender | undefined;
  return {
    name,
    async nextBatch() {
      const site = await wideSite();
      contender ??= eventWrites({ name, subject: site.storage, site }, load);
      return await contender.nextBatch();
    },
  };
}
