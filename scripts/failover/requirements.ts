import process from "node:process";
import { serverPrograms } from "../debian.ts";

/** Why there can be no failover here; undefined if there can. */
export function whyNoFailover(): string | undefined {
  if (process.platform !== "linux" || process.geteuid?.() !== 0) {
    return "network namespaces need Linux and root";
  }
  if (serverPrograms() === undefined) {
    return "the server package is missing: apt-get install postgresql";
  }
  return undefined;
}
