import { openStreamStorage } from "../../../mod.ts";
import type { CitusCluster } from "./citus_cluster.ts";

/** Makes the schema of an empty store, and distributes it. */
export async function distributedSchema(
  cluster: CitusCluster,
  schema: string,
  partitions: number,
): Promise<void> {
  const { url } = cluster.coordinator;
  {
    await using _ = await openStreamStorage({ url, schema, partitions });
  }
  await cluster.query(
    `SET citus.enable_unsafe_triggers = on;
     SELECT citus_schema_distribute('${schema}')`,
  );
}
