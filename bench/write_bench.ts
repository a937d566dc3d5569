/** `deno bench -A bench/write_bench.ts`: the hot write paths. */

import { registerBenches } from "./deno_bench.ts";
import { writePaths } from "./workloads/table.ts";

await registerBenches(writePaths);
