/** The table: what is measured, and what it must reach. */

/** A figure of a row. */
export interface FigureOfRow {
  /** As the measurement calls it. */
  name: string;
  title: string;
  /** The figure itself must not be above this, or below it. */
  atMost?: number;
  atLeast?: number;
  /** Divided by the other checkout's figure of the same round. */
  ratioAtLeast?: number;
  /** Measured only if the server's processes are on this machine, under Linux. */
  isOfServer?: boolean;
}

/** A row of the table. */
export interface MarkRow {
  id: string;
  title: string;
  figures: FigureOfRow[];
  /**
   * Measured under the first runtime only, without a round to warm up: the
   * server does most of the work, and a round takes up to a minute.
   */
  inOneRuntime?: boolean;
  /** Measured in one round only, whatever the number of rounds. */
  once?: boolean;
}

const perSecond = { name: "perSecond", title: "calls/s" };
const cpuMs = { name: "cpuMs", title: "client CPU, ms" };
/** What a call takes of the cores that client and server share. */
const ofCores: FigureOfRow[] = [
  { name: "serverCpuMs", title: "server CPU, ms", isOfServer: true },
  {
    name: "mostPerSecond",
    title: "calls/s if no core were ever idle",
    isOfServer: true,
  },
];
const ms = { name: "ms", title: "ms" };

function pause(id: string, title: string): MarkRow {
  return {
    id: `pause-${id}`,
    title: `longest pause: ${title}`,
    figures: [{ ...ms, atMost: 50 }, {
      name: "cpuMs",
      title: "of it CPU of the thread, ms",
    }],
  };
}

/** All rows, in the order of the table. */
export const markRows: readonly MarkRow[] = [
  {
    id: "read-100x10k-8",
    title: "readMiniblocks, 100 × 10 KB, 8 at once",
    figures: [
      { ...perSecond, ratioAtLeast: 1.3 },
      { ...cpuMs, atMost: 0.55 },
      ...ofCores,
    ],
  },
  {
    id: "read-100x10k",
    title: "readMiniblocks, 100 × 10 KB, alone",
    figures: [perSecond, { ...cpuMs, atMost: 0.55 }, ...ofCores],
  },
  {
    id: "read-10x50k-32",
    title: "readStreamFromLastSnapshot, 10 + 10 of 50 KB, 32 at once",
    figures: [{ ...perSecond, ratioAtLeast: 1.3 }, cpuMs, ...ofCores],
  },
  {
    id: "read-bare",
    title: "1 MB through a bare socket (COPY OUT), alone",
    figures: [perSecond, cpuMs, ...ofCores],
  },
  {
    id: "read-psql",
    title: "1 MB by libpq (COPY OUT, psql), alone",
    figures: [perSecond],
  },
  {
    id: "write-100x10k",
    title: "writeMiniblocks, 100 × 10 KB",
    figures: [{ ...perSecond, ratioAtLeast: 1.05 }, cpuMs],
  },
  {
    id: "write-psql",
    title: "100 × 10 KB by libpq (COPY IN, psql)",
    figures: [perSecond],
  },
  {
    id: "write-cold",
    title: "first events of 100 000 streams, 400 at once",
    figures: [
      { name: "coldPerSecond", title: "events/s" },
      { name: "ratio", title: "time ÷ that of 1000 streams", atMost: 1.5 },
    ],
  },
  {
    id: "open-again",
    title: "open a schema that is there",
    figures: [{ ...ms, atMost: 40 }, cpuMs],
  },
  {
    id: "open-process",
    title: "process start to open store",
    figures: [{ ...ms, atMost: 110 }, cpuMs],
  },
  pause("events-one", "40 000 events of one stream at once"),
  pause("events-many", "40 000 events of 2000 streams at once"),
  pause("write-blocks", "writeMiniblocks of 100 000 blocks"),
  pause("write-events", "writeMiniblocks with 100 000 events"),
  pause("reinitialize", "reinitializeStreamStorage of 100 000 blocks"),
  pause("read-blocks", "readMiniblocks of 100 000 blocks"),
  pause(
    "read-stream",
    "readStreamFromLastSnapshot, 100 000 blocks and events",
  ),
  pause("large-reads", "300 reads of 1 MB at once"),
  {
    id: "server-memory",
    title: "server memory, 256 partitions, every kind of call",
    figures: [
      { name: "mebibytes", title: "MiB", atMost: 150 },
      { name: "connections", title: "connections" },
    ],
    inOneRuntime: true,
    once: true,
  },
  {
    id: "first-ranges",
    title: "first getMiniblockNumberRanges of 1 500 000 blocks",
    figures: [ms, { name: "pauseMs", title: "longest pause, ms" }],
    inOneRuntime: true,
  },
  {
    id: "delete-large",
    title: "deleteStream of 80 000 × 51 KB",
    figures: [ms, { name: "pauseMs", title: "longest pause, ms" }],
    inOneRuntime: true,
  },
];
