import type { Problem } from "./contract.ts";

/** Why a watch ended for good. What it delivered before is right; `revision` is the last revision of that. */
export class WatchError extends Error {
  override readonly name = "WatchError";
  /** The code of the problem; `closed`, `refused` or `lost` where the gateway gave none. */
  readonly code: string;
  /** The problem in the gateway's words, if it gave any. */
  readonly problem: Problem | undefined;
  /** Everything up to it has been delivered; undefined when nothing has. */
  readonly revision: number | undefined;

  constructor(code: string, message: string, problem?: Problem, revision?: number) {
    super(message);
    this.code = code;
    this.problem = problem;
    this.revision = revision;
  }
}
