/** `deno bench -A bench/read_bench.ts`: the hot read paths. */

import { registerBenches } from "./deno_bench.ts";
import { readPaths } from "./workloads/table.ts";

await registerBenches(readPaths);
