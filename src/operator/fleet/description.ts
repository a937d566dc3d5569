/** The description of a fleet: what it holds, and whether it can be meant. */

import {
  also,
  type Check,
  flag,
  int,
  list,
  object,
  optional,
  Place,
  text,
  that,
  withDefault,
} from "../../postgres/checks.ts";
import { StreamStorageError } from "../../storage/errors.ts";

/** Stores that are alike. */
export interface StoreGroup {
  /** What to call them. Default `stores.N`. */
  name?: string;
  /** How many. Default 1. */
  count?: number;
  /** Of each, 1 to 256. */
  partitions: number;
  /** Streams in each. */
  streams: number;
  /** Events written to each, on average. */
  eventsPerSecond: number;
  /** Bytes of an event. */
  eventBytes: number;
  /** For how long events are kept. */
  retentionDays: number;
  /** Gigabytes of media in each. Default 0. */
  mediaGB?: number;
  /** Whether media are in a bucket, not in the database. Default false. */
  mediaInBucket?: boolean;
  /** `maxConnections` of each. Default 10. */
  connections?: number;
}

/** A server. */
export interface WorkerSize {
  /** Gigabytes of memory. */
  memoryGB: number;
  /** Processor cores. */
  cores: number;
  /** Gigabytes of disk. */
  diskGB: number;
}

/** How much of a server is planned for; the rest is for peaks and for itself. */
export interface FleetLimits {
  /** Of its disk. Default 0.7. */
  diskShare?: number;
  /** Of its cores. Default 0.5. */
  processorShare?: number;
  /** Of its memory, for connections; shared buffers have a quarter. Default 0.5. */
  memoryShare?: number;
}

/** What `planFleet` takes. */
export interface FleetDescription {
  /** The stores, by kinds. */
  stores: StoreGroup[];
  /** What each server has. */
  worker: WorkerSize;
  /** Whether each server has a standby. Default false. */
  standbys?: boolean;
  /**
   * Whether the servers are a Citus cluster. Default: as soon as one server does
   * not hold all stores.
   */
  cluster?: boolean;
  /** How much of a server is planned for. */
  limits?: FleetLimits;
}

/** The same with all defaults. */
export interface Fleet {
  stores: Required<StoreGroup>[];
  worker: WorkerSize;
  standbys: boolean;
  cluster: boolean | undefined;
  limits: Required<FleetLimits>;
}

function number(min: number, max: number): Check<number> {
  return that(
    (value) => typeof value === "number" && value >= min && value <= max,
    `must be a number from ${min} to ${max}`,
  );
}

const share = number(0.01, 1);

/** More stores than that take no planner but a plan. */
const maxStores = 10_000;

const checkFleet = object({
  stores: also(
    list(
      object({
        name: optional(text(1, 63)),
        count: withDefault(int(1, maxStores), 1),
        partitions: int(1, 256),
        streams: int(0, 1e12),
        eventsPerSecond: number(0, 1e6),
        eventBytes: int(1, 1e8),
        retentionDays: number(0, 36_500),
        mediaGB: withDefault(number(0, 1e9), 0),
        mediaInBucket: withDefault(flag, false),
        connections: withDefault(int(3, 1000), 10),
      }),
      1000,
    ),
    (groups, place) => {
      const sum = groups.reduce((sum, { count }) => sum + count, 0);
      if (sum > maxStores) place.refuse(`must be ${maxStores} stores at most`);
      if (groups.length === 0) place.refuse("must not be empty");
      return groups.map((group, i) => ({
        ...group,
        name: group.name ?? `stores.${i}`,
      }));
    },
  ),
  worker: object({
    memoryGB: number(0.1, 1e5),
    cores: number(0.1, 1e4),
    diskGB: number(1, 1e7),
  }),
  standbys: withDefault(flag, false),
  cluster: optional(flag),
  limits: withDefault(
    object({
      diskShare: withDefault(share, 0.7),
      processorShare: withDefault(share, 0.5),
      memoryShare: withDefault(share, 0.5),
    }),
    {},
  ),
});

/**
 * The fleet that was meant.
 *
 * @throws {StreamStorageError} BAD_CONFIG, `bad_fleet`: names the fields.
 */
export function readFleet(description: unknown): Fleet {
  const place = new Place();
  const fleet = checkFleet(description, place);
  const { faults } = place;
  if (faults.length === 0) return { ...fleet, cluster: fleet.cluster };
  const listed = faults.map(({ option, message }) => `${option}: ${message}`);
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    operation: "planFleet",
    message: `The description of the fleet is not valid: ${listed.join("; ")}`,
    details: { reason: "bad_fleet", faults },
  });
}
