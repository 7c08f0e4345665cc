// The fault groups, worst and newest first; each opens to all there is to know.

import { useEffect, useRef, useState } from "preact/hooks";
import { ask, token } from "./api.js";
import { Ago, Nothing, Section, Severity, State, copy } from "./bits.js";
import { FaultById } from "./fault.js";
import { count, duration, percent, rate, times } from "./format.js";
import { open, openedAs } from "./place.js";
import {
  GROUPS, active, found, groups, hasAnswered, isSearchedInPart, query, severities, shownGroups, wantsToken,
} from "./store.js";
import type { Fault, Group } from "./types.js";

const ALL = ["P0", "P1", "P2", "P3"] as const;

export function Groups() {
  const shown = shownGroups.value;
  const seen = groups.value.length;
  const some = seen < GROUPS ? "" : `the ${GROUPS} seen last: `; // There may be more.
  const note = `${some}${active.value.length} now, ${seen - active.value.length} over`;
  return (
    <Section id="faults" title="Faults" note={seen ? note : ""}
      more={<Severities />}>
      <Found records={found.value} />
      <Asked shown={shown} />
      {shown.length === 0 && <Nothing>{nothing()}</Nothing>}
      <ol class="groups">
        {shown.map((group) => <Entry key={group.id} group={group} />)}
      </ol>
    </Section>
  );
}

function nothing(): string {
  if (!hasAnswered("groups")) return "Waiting for the sidecar…";
  if (!groups.value.length) return "Nothing has failed since this sidecar started.";
  return isSearchedInPart.value
    ? "No group matches, and no failure of late: older records were not looked through."
    : "No group matches.";
}

// The group that the address names, where the list has it not: it may be filtered out,
// one of the oldest, or of before a restart.
function Asked({ shown }: { shown: Group[] }) {
  const id = openedAs("group");
  if (!id || shown.some((group) => group.id === id)) return null;
  const known = groups.value.find((group) => group.id === id);
  if (known) return <ol class="groups"><Entry group={known} /></ol>;
  return hasAnswered("groups") ? <ById key={id} id={id} /> : null;
}

function ById({ id }: { id: string }) {
  const [group, setGroup] = useState<Group | null>(null);
  const [missing, setMissing] = useState("");
  useEffect(() => {
    if (wantsToken.value) return;
    ask<Group>(`/fault-groups/${encodeURIComponent(id)}`).then(
      (told) => (setGroup(told), setMissing("")),
      (error: Error) => setMissing(error.message),
    );
  }, [id, token.value, wantsToken.value, groups.value]); // As often as the others.
  if (group) return <ol class="groups"><Entry group={group} /></ol>;
  return missing ? (
    <Nothing>
      The group {id} is not shown: {missing}. <button type="button" onClick={() => open("group", "")}>Close</button>
    </Nothing>
  ) : null;
}

function Severities() {
  const toggle = (severity: string) => {
    const chosen = new Set(severities.value);
    if (!chosen.delete(severity)) chosen.add(severity);
    severities.value = chosen;
  };
  return (
    <div class="filters" role="group" aria-label="Show only">
      {ALL.map((severity) => {
        const number = active.value.filter((group) => group.severity === severity).length;
        return (
          <button type="button" key={severity} class={`severity ${severity} ${number ? "" : "none"}`}
            aria-pressed={severities.value.has(severity)} onClick={() => toggle(severity)}>
            {severity} <b>{number}</b>
          </button>
        );
      })}
    </div>
  );
}

function Entry({ group }: { group: Group }) {
  const isOpen = openedAs("group") === group.id;
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isOpen && row.current && !isInView(row.current)) row.current.scrollIntoView();
  }, [isOpen]); // By a link, or from the alerts: who clicks on it sees it.
  const where = [group.route, group.upstream, group.endpoint].filter(Boolean).join(" › ");
  return (
    <li class={`group ${group.state} ${isOpen ? "open" : ""}`} id={`group-${group.id}`} ref={row}>
      <button type="button" class="row" aria-expanded={isOpen} data-group={group.id}
        onClick={() => open("group", isOpen ? "" : group.id)}>
        <Severity of={group.severity} />
        <span class="name">
          <b>{group.code}</b>
          <small>{where || "the sidecar itself"}{group.cause && ` · ${group.cause}`}</small>
        </span>
        <State of={group.state} />
        <span class="number" title="in the last minute">
          <b>{rate(group.rate_per_s)}/s</b>
          <small class={group.trend}>{group.trend}</small>
        </span>
        <span class="number">
          <b>{group.share_of_traffic ? percent(group.share_of_traffic) : "–"}</b>
          <small>of its route</small>
        </span>
        <span class="number">
          <b>{count(group.count)}</b>
          <small><Ago of={group.last_seen} /></small>
        </span>
      </button>
      {isOpen && <Detail group={group} />}
    </li>
  );
}

function isInView(element: HTMLElement): boolean {
  const { top } = element.getBoundingClientRect();
  return top >= 0 && top < innerHeight;
}

function Detail({ group }: { group: Group }) {
  // The examples of the moment when it was opened: they would else change while read.
  const [examples] = useState(group.examples);
  const [chosen, choose] = useState(openedAs("fault") || examples.at(-1) || "");
  const latest = group.examples.at(-1);
  const isOlder = latest !== undefined && !examples.includes(latest) && chosen !== latest;
  return (
    <div class="detail-box">
      <p class="fix">
        <span>What to do</span>
        {group.fix}
        <button type="button" onClick={() => void copy(`sidecar faults ${group.code}`, "Command")}
          title="Copy the command that explains it">
          sidecar faults {group.code}
        </button>
      </p>
      <p class="since">
        {group.title} · first seen <Ago of={group.first_seen} />
        {group.regressions > 0 && ` · came back ${times(group.regressions)}`}
        {group.state === "recovered" && group.recovery_s !== null && ` · recovered after ${duration(group.recovery_s)}`}
        {` · layer ${group.layer}`}
      </p>
      <div class="tabs" role="group" aria-label="Examples">
        {examples.map((id, i) => (
          <button type="button" key={id} aria-pressed={chosen === id} onClick={() => choose(id)}>
            {label(i, examples.length)}
          </button>
        ))}
        {isOlder && (
          <button type="button" aria-pressed={false} onClick={() => choose(latest)}>newest</button>
        )}
      </div>
      {chosen ? <FaultById id={chosen} /> : <Nothing>No record of it is kept.</Nothing>}
    </div>
  );
}

function label(index: number, size: number): string {
  if (size === 1) return "the only one";
  if (index === 0) return "first";
  return index === size - 1 ? "last" : `between ${index}`;
}

function Found({ records }: { records: Fault[] }) {
  const chosen = openedAs("fault");
  if (!query.value || !records.length) return null;
  return (
    <details class="found" open={Boolean(chosen) || !shownGroups.value.length}>
      <summary>{records.length === 20 ? "The last 20" : records.length} single failures match</summary>
      <ul>
        {records.map((record) => (
          <li key={record.fault_id}>
            <button type="button" class="row" aria-expanded={chosen === record.fault_id}
              onClick={() => open("fault", chosen === record.fault_id ? "" : record.fault_id)}>
              <Severity of={record.severity} />
              <b>{record.code}</b>
              <span>{record.method} {record.path_template}</span>
              <small><Ago of={record.time} /> · {record.fault_id}</small>
            </button>
            {chosen === record.fault_id && <FaultById id={chosen} />}
          </li>
        ))}
      </ul>
    </details>
  );
}
