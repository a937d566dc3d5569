/** The view of a schema that its checks share. */

import {
  askHome,
  type ReportedHome,
} from "../../database/cluster/find_home.ts";
import {
  readSchemaState,
  type SchemaState,
} from "../../database/migrations/mod.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { fail, type Result } from "./diagnosis.ts";
import type { Look } from "./look.ts";

/** The view of a schema that exists. */
export interface SchemaLook extends Look {
  schema: string;
  state: SchemaState;
  /**
   * The server that holds a distributed schema; undefined: the connected one.
   */
  home: ReportedHome | undefined;
}

/** Makes the view; undefined if the schema can't be examined. */
export async function lookAtSchema(
  look: Look,
  schema: string,
): Promise<SchemaLook | Result> {
  const state = await readSchemaState(look.session, schema, {
    ownOnlyIfReadable: true,
  });
  if (state.exists && state.suffixes.length > 0) {
    const home = look.hasCitus
      ? await askHome(look.session, schema)
      : undefined;
    return { ...look, schema, state, home };
  }
  return fail(
    state.exists
      ? `Schema ${quoted(schema)} has no tables of a store`
      : `Schema ${quoted(schema)} does not exist`,
    "See `status` for the stores of this database, or open one to make it.",
  );
}
