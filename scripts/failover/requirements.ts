import process from "node:process";
import { serverPrograms } from "../../tests/support/servers/debian.ts";

/** Says why this machine cannot fail over; undefined if it can. */
export function whyNoFailover(): string | undefined {
  if (process.platform !== "linux" || process.geteuid?.() !== 0) {
    return "network namespaces need Linux and root";
  }
  if (serverPrograms() === undefined) {
    return "the server package is missing: apt-get install postgresql";
  }
  return undefined;
}
