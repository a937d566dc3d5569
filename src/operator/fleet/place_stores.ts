/**
 * Puts stores on servers. First it fills one server after the other, the
 * neediest store first, to find the number of servers. Then it spreads the
 * stores evenly over that number, if that fits, too.
 */

import { StreamStorageError } from "../../storage/errors.ts";
import { type Needs, plus } from "./store_needs.ts";

/** The resources of a server. */
export type Room = Pick<Needs, "diskBytes" | "memoryBytes" | "cores">;

const resources = ["diskBytes", "memoryBytes", "cores"] as const;

/** A store to be placed; `field` names it in the description. */
export interface PlacedNeeds {
  field: string;
  name: string;
  needs: Needs;
  count: number;
}

/** A server with its stores. */
export interface FilledServer {
  stores: number;
  needs: Needs;
}

/**
 * @throws {StreamStorageError} BAD_CONFIG, `store_too_large`: the error names
 *   the stores, and the resource of which a server has too little.
 */
export function placeStores(
  groups: readonly PlacedNeeds[],
  { room, base }: {
    room: Room;
    /** What each server needs without a store. */
    base: Needs;
  },
): FilledServer[] {
  const share = (needs: Needs) =>
    Math.max(...resources.map((each) => needs[each] / room[each]));
  const sorted = groups.toSorted((a, b) => share(b.needs) - share(a.needs));
  for (const group of sorted) refuseTooLarge(group, room, base);
  const filled = fill(sorted, room, base);
  return spread(sorted, room, base, filled.length) ?? filled;
}

function fill(
  groups: readonly PlacedNeeds[],
  room: Room,
  base: Needs,
): FilledServer[] {
  const servers: FilledServer[] = [];
  for (const { needs, count } of groups) {
    // Stores of a group are alike, so a server without room for one has no room
    // for the others.
    let at = 0;
    for (let left = count; left > 0; left--) {
      while (at < servers.length && !fits(servers[at]!, needs, room)) at++;
      const server = servers[at] ??= { stores: 0, needs: base };
      add(server, needs);
    }
  }
  return servers;
}

/**
 * Puts each store on the server with the most room; undefined if a store fits
 * on none.
 */
function spread(
  groups: readonly PlacedNeeds[],
  room: Room,
  base: Needs,
  count: number,
): FilledServer[] | undefined {
  const servers = Array.from(
    { length: count },
    (): FilledServer => ({ stores: 0, needs: base }),
  );
  for (const { needs, count } of groups) {
    for (let left = count; left > 0; left--) {
      let [least, emptiest] = [Infinity, servers[0]!];
      for (const server of servers) {
        const load = loadOf(server, room);
        if (load < least) [least, emptiest] = [load, server];
      }
      if (!fits(emptiest, needs, room)) return undefined;
      add(emptiest, needs);
    }
  }
  return servers;
}

function add(server: FilledServer, needs: Needs): void {
  server.needs = plus(server.needs, needs);
  server.stores++;
}

/** The used share of the scarcest resource. */
function loadOf({ needs }: FilledServer, room: Room): number {
  return Math.max(
    needs.diskBytes / room.diskBytes,
    needs.memoryBytes / room.memoryBytes,
    needs.cores / room.cores,
  );
}

function fits({ needs }: FilledServer, more: Needs, room: Room): boolean {
  return needs.diskBytes + more.diskBytes <= room.diskBytes &&
    needs.memoryBytes + more.memoryBytes <= room.memoryBytes &&
    needs.cores + more.cores <= room.cores;
}

/** The resource of which there is too little. */
function lacking(needs: Needs, room: Room): keyof Room | undefined {
  return resources.find((each) => needs[each] > room[each]);
}

const words: Record<keyof Room, { name: string; unit: string; one: number }> = {
  diskBytes: { name: "disk", unit: "GB", one: 1e9 },
  memoryBytes: { name: "memory for connections", unit: "GB", one: 1e9 },
  cores: { name: "processor", unit: "cores", one: 1 },
};

function refuseTooLarge(
  { field, name, needs }: PlacedNeeds,
  room: Room,
  base: Needs,
): void {
  const all = plus(base, needs);
  const resource = lacking(all, room);
  if (resource === undefined) return;
  const { name: what, unit, one } = words[resource];
  const amount = (value: number) => `${(value / one).toFixed(1)} ${unit}`;
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    operation: "planFleet",
    message: `${field}: one store of ${JSON.stringify(name)} needs ` +
      `${amount(all[resource])} of ${what}, of which a server has ` +
      `${amount(room[resource])} to give`,
    details: {
      reason: "store_too_large",
      field,
      resource,
      needed: all[resource],
      available: room[resource],
    },
  });
}
