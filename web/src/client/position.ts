import type { ServerMessage } from "./contract.ts";
import type { WatchParameters } from "./messages.ts";

/** How far a watch is: what it takes to go on where it stopped. */
export class Position {
  /** Everything up to it has come. */
  revision: number | undefined;
  #epoch: string | undefined;
  /** The present state has been asked for and is not complete: a snapshot, or the leader of an election. */
  #snapshot: boolean;
  readonly #election: boolean;
  /** A part of it has come. */
  #begun = false;
  #announced = false;
  readonly #first: WatchParameters;

  constructor(parameters: WatchParameters) {
    this.#first = parameters;
    this.#election = parameters.election !== undefined || parameters.election_base64 !== undefined;
    this.#snapshot = parameters.snapshot ?? (this.#election && parameters.start_revision === undefined);
    if (parameters.start_revision !== undefined) this.revision = parameters.start_revision - 1;
    this.#epoch = parameters.epoch;
  }

  /** Whether a connection that ends now leaves a snapshot that nobody can use. */
  get withinSnapshot(): boolean {
    return this.#snapshot && this.#begun;
  }

  /** The parameters that go on from here. */
  get parameters(): WatchParameters {
    const { start_revision: _, epoch: __, snapshot: ___, ...rest } = this.#first;
    if (this.#snapshot) return this.#election ? rest : { ...rest, snapshot: true };
    const epoch = this.#epoch === undefined ? {} : { epoch: this.#epoch };
    return this.revision === undefined ? { ...rest, ...epoch } : { ...rest, ...epoch, start_revision: this.revision + 1 };
  }

  /** Notes what has come, and tells whether it is new. */
  note(message: ServerMessage): boolean {
    switch (message.type) {
      case "created": {
        const first = !this.#announced; // the caller need not know of the other ones
        this.#announced = true;
        this.#epoch = message.epoch;
        if (!this.#snapshot) this.revision ??= message.revision;
        return first;
      }
      case "snapshot":
        this.#begun = true;
        return true;
      case "synced":
        this.#snapshot = this.#begun = false;
        this.revision = message.revision;
        return true;
      case "reset":
        this.#forget();
        return true;
      case "leader":
        if (!this.#snapshot) return this.#moves(message.revision, 1);
        this.#snapshot = false;
        this.revision = message.revision;
        return true;
      case "events":
        return this.#moves(message.revision, 1);
      case "progress":
        return this.#moves(message.revision, 0);
      default:
        return false;
    }
  }

  /** Begins anew, with a snapshot: what came before counts no more. */
  restart(): void {
    this.#forget();
    this.#announced = false;
  }

  #forget(): void {
    this.#snapshot = true;
    this.#begun = false;
    this.revision = undefined;
  }

  #moves(revision: number, least: number): boolean {
    if (this.#snapshot || revision < (this.revision ?? 0) + least) return false;
    this.revision = revision;
    return true;
  }
}
