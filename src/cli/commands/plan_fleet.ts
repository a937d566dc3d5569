/** `plan-fleet`: plans the servers that many stores need. */

import { planFleet } from "../../operator/fleet/plan_fleet.ts";
import type { FleetDescription } from "../../operator/fleet/description.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { readDescription } from "../fleet/read_description.ts";
import { showPlan } from "../fleet/show_plan.ts";

/** See the file's head. */
export function define(command: NewCommand): void {
  command
    .argument("<file>", "the fleet's description, JSON; - is standard input")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
A description:
  {
    "stores": [{
      "name": "nodes", "count": 100, "partitions": 16, "streams": 10000,
      "eventsPerSecond": 20, "eventBytes": 300, "retentionDays": 30,
      "mediaGB": 50, "mediaInBucket": true, "connections": 10
    }],
    "worker": { "memoryGB": 64, "cores": 16, "diskGB": 2000 },
    "standbys": true
  }
It asks no server. It calculates with measured costs, and prints them.
` + examples("plan-fleet fleet.json", "plan-fleet - --json <fleet.json"),
    )
    .action(run(async (cli, file) => {
      const description = await readDescription(file);
      // `planFleet` checks it, field by field.
      const plan = planFleet(description as FleetDescription);
      if (cli.isJson) await cli.document(plan);
      else await showPlan(cli, plan);
      return 0;
    }));
}
