/**
 * The addresses by which the servers of a cluster know each other may not work
 * from here: the servers may be behind proxies, or in a network of their own.
 */

import type { Address } from "../current_server.ts";

/** Returns where we reach a server that the others know by this address. */
export type Reach = (address: Address) => Address;

/**
 * Reads `{ "their-host:port": "our-host:port" }`; undefined for anything else.
 * A server that is not in it is reached as the other servers reach it.
 */
export function readClusterHosts(value: unknown): Reach | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const ways = Object.entries(value).map(([theirs, ours]) =>
    [addressOf(theirs), addressOf(ours)] as const
  );
  if (
    !ways.every((way): way is [Address, Address] => !way.includes(undefined))
  ) {
    return undefined;
  }
  return ({ host, port }) => {
    const way = ways.find(([it]) => it.host === host && it.port === port);
    return way?.[1] ?? { host, port };
  };
}

/** An IPv6 address may be in brackets, as in a URL. */
function addressOf(text: unknown): Address | undefined {
  if (typeof text !== "string") return undefined;
  const [, inBrackets, plain, digits] =
    /^(?:\[([^[\]]+)\]|([^\s/@[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const [host, port] = [inBrackets ?? plain, Number(digits)];
  return host === undefined || port < 1 || port > 65_535
    ? undefined
    : { host, port };
}
