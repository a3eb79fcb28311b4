/** An event of a stream of Server-Sent Events, as far as this API uses them. */
export interface StreamEvent {
  data?: string;
  /** How long to wait before connecting again, in milliseconds. */
  retry?: number;
}

/** Cuts a stream of Server-Sent Events into events; text comes in pieces of any size. */
export class EventParser {
  #rest = "";
  #data: string[] = [];
  #retry: number | undefined;

  /** Takes a piece, and gives the events that it completes. */
  feed(text: string): StreamEvent[] {
    const events: StreamEvent[] = [];
    // A line ends with LF, CR LF or CR; a CR at the end of a piece may be half of one.
    const whole = this.#rest + text;
    const end = whole.endsWith("\r") ? whole.length - 1 : whole.length;
    const lines = whole.slice(0, end).split(/\r\n|\r|\n/);
    this.#rest = (lines.pop() ?? "") + whole.slice(end);
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): StreamEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "retry" && /^\d+$/.test(value)) this.#retry = Number(value);
    return undefined;
  }

  #dispatch(): StreamEvent | undefined {
    const event: StreamEvent = {};
    if (this.#data.length > 0) event.data = this.#data.join("\n");
    if (this.#retry !== undefined) event.retry = this.#retry;
    this.#data = [];
    this.#retry = undefined;
    return event.data === undefined && event.retry === undefined ? undefined : event;
  }
}
