/** Shows a cluster's worker nodes and the stores on them, as tables. */

import type {
  ClusterStatus,
  StorePlacement,
} from "../../operator/cluster/types.ts";
import { workerName } from "../../operator/cluster/cluster.ts";
import type { Cli } from "../cli.ts";
import { formatBytes, formatCount, formatShare } from "../format.ts";

/** Shows where each store is, and how much each worker node has. */
export async function showCluster(
  cli: Cli,
  { workers, stores }: ClusterStatus,
): Promise<void> {
  if (stores.length > 0) {
    await cli.table({
      columns: [
        { head: "Schema", shrinks: true },
        { head: "Worker node" },
        { head: "Tables", align: "right" },
        { head: "On disk", align: "right" },
      ],
      rows: stores.map((store) => [
        store.schema,
        workerName(store),
        formatCount(store.tables),
        sizeOf(store.bytes),
      ]),
    });
    await cli.print("");
  }
  const sum = workers.reduce((sum, { bytes }) => sum + Number(bytes), 0);
  await cli.table({
    columns: [
      { head: "Worker node", shrinks: true },
      { head: "State" },
      { head: "Stores", align: "right" },
      { head: "On disk", align: "right" },
      { head: "", align: "right" },
    ],
    rows: workers.map((worker) => [
      workerName(worker),
      worker.isActive
        ? worker.takesStores ? "active" : "takes no stores"
        : "not active",
      formatCount(worker.stores),
      sizeOf(worker.bytes),
      worker.bytes === null ? "" : formatShare(Number(worker.bytes), sum),
    ]),
  });
}

/** Says where a store is; the text follows its name. */
export function placementText(placement: StorePlacement | null): string {
  if (placement === null) return "";
  return `${workerName(placement)}${
    placement.isHere ? " (this server)" : ""
  }, ` +
    `${formatCount(placement.tables)} tables, ${sizeOf(placement.bytes)}`;
}

function sizeOf(bytes: bigint | null): string {
  return bytes === null ? "not reached" : formatBytes(bytes);
}
