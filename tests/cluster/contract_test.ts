/**
 * The contract over a schema that lives on a worker node of a Citus cluster.
 */
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";
import { distributedSchema } from "../support/cluster/distributed_schema.ts";
import { sharedStoreContract } from "../support/shared_store_contract.ts";

const schema = "contract";
const partitions = 2;

describeOnCluster("A store on a cluster", () => {
  sharedStoreContract(async (cleanUp) => {
    const cluster = cleanUp.use(await CitusCluster.start());
    await distributedSchema(cluster, schema, partitions);
    const { url } = cluster.coordinator;
    return {
      url,
      // Rows by hand go to the shards, too, by the names that the store has for
      // them.
      administrator: (await cluster.ownerOf(schema)).url,
      schema,
      partitions,
      startupDelayMs: 0,
      workerConcurrency: 0,
      maxConnections: 5,
    };
  });
});
