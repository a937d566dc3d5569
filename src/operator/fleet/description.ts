/** The description of a fleet: its members and their checks. */

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

/** A group of similar stores. */
export interface StoreGroup {
  /** The group's name. Default `stores.N`. */
  name?: string;
  /** The number of stores. Default 1. */
  count?: number;
  /** The number of partitions of each, 1 to 256. */
  partitions: number;
  /** The number of streams in each. */
  streams: number;
  /** Events written to each store a second, on average. */
  eventsPerSecond: number;
  /** The bytes of an event. */
  eventBytes: number;
  /** How many days events are kept. */
  retentionDays: number;
  /** Gigabytes of media in each. Default 0. */
  mediaGB?: number;
  /** Whether media are in a bucket instead of the database. Default false. */
  mediaInBucket?: boolean;
  /** `maxConnections` of each. Default 10. */
  connections?: number;
}

/** The size of a server. */
export interface WorkerSize {
  /** Gigabytes of memory. */
  memoryGB: number;
  /** Processor cores. */
  cores: number;
  /** Gigabytes of disk. */
  diskGB: number;
}

/**
 * The shares of a server that the plan may use. The rest is for peaks and for
 * the server itself.
 */
export interface FleetLimits {
  /** The share of its disk. Default 0.7. */
  diskShare?: number;
  /** The share of its cores. Default 0.5. */
  processorShare?: number;
  /**
   * The share of its memory that connections may use; shared buffers take a
   * quarter. Default 0.5.
   */
  memoryShare?: number;
}

/** The argument of `planFleet`. */
export interface FleetDescription {
  /** The stores, in groups. */
  stores: StoreGroup[];
  /** The size of each server. */
  worker: WorkerSize;
  /** Whether each server has a standby. Default false. */
  standbys?: boolean;
  /**
   * Whether the servers are a Citus cluster. Default: true if one server can't
   * hold all stores.
   */
  cluster?: boolean;
  /** The shares of a server that the plan may use. */
  limits?: FleetLimits;
}

/** A description with all defaults filled in. */
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

/** The most stores; a larger fleet needs more than this planner. */
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
 * Checks a description and fills in the defaults.
 *
 * @throws {StreamStorageError} BAD_CONFIG, `bad_fleet`: the error names the
 *   fields.
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
