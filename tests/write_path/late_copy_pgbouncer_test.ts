/** The sample of write_path/late_copy_test.ts behind PgBouncer. */
import { describe } from "node:test";
import { SETTING_NAMES } from "../support/late_copy/settings.ts";
import { lateCopyTests } from "../support/late_copy/smoke.ts";

describe("A late copy of a lost write behind PgBouncer", () => {
  lateCopyTests(SETTING_NAMES.filter((name) => name.startsWith("PgBouncer")));
});
