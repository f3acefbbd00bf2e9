// Speak: describe the image aloud; the recording is the receipt, its transcript can be corrected.
import { $, attempt, get, make, post, refresh, say, send, state } from "./main.js";

const RATE = 16000;
let recorder = null, chunks = [], began = 0, clock = 0, audio = null, saved = "";

// Any audio that the browser can decode, as a WAV file of one channel, 16 bits, 16 kHz.
async function toWav(blob) {
  const context = new AudioContext();
  try {
    const decoded = await context.decodeAudioData(await blob.arrayBuffer());
    const offline = new OfflineAudioContext(1, Math.max(Math.ceil(decoded.duration * RATE), 1), RATE);
    const source = offline.createBufferSource();
    source.buffer = decoded;
    source.connect(offline.destination);
    source.start();
    const samples = (await offline.startRendering()).getChannelData(0);
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (at, value) => [...value].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, RATE, true); view.setUint32(28, 2 * RATE, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
    text(36, "data"); view.setUint32(40, 2 * samples.length, true);
    samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
    return view.buffer;
  } finally {
    await context.close();
  }
}

async function upload(blob) {
  say("Reading the recording\u2026");
  await attempt(async () => {
    let wav;
    try { wav = await toWav(blob); } catch { throw new Error("This is no audio that the browser can read: try WAV, MP3, Ogg or M4A."); }
    const answer = await send("/api/audio", wav, "audio/wav");
    audio = answer.audio;
    if (answer.transcript) $("transcript").value = answer.transcript;
    $("receipt").textContent = `Recording: ${answer.seconds} s, SHA-256 ${audio.slice(0, 12)}\u2026`;
    say(answer.transcript ? "Correct the transcript, then save it." : "Write down what you said, then save it.");
    $("transcript").focus();
  });
}

async function record() {
  if (recorder) { recorder.stop(); return; }
  const item = state.item.id;
  await attempt(async () => {
    let stream;
    try { stream = await navigator.mediaDevices.getUserMedia({ audio: true }); }
    catch (error) { throw new Error(`The microphone cannot be used (${error.name}): allow it in the browser, or upload a file.`); }
    chunks = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => chunks.push(event.data);
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      clearInterval(clock);
      recorder = null;
      if ($("record")) $("record").textContent = "Record again";
      // Whoever went to another image gave the recording up.
      if (state.item.id === item) upload(new Blob(chunks));
    };
    recorder.start();
    began = performance.now();
    $("record").textContent = "Stop";
    clock = setInterval(() => { $("timer").textContent = `${Math.floor((performance.now() - began) / 1000)} s`; }, 250);
  });
}

export const speak = {
  title: "Speak",
  badge: (item) => (item.said ? ["\u2713", "good"] : ["new", ""]),
  done: (item) => item.said,
  unsaved: () => recorder !== null || ($("transcript")?.value ?? saved) !== saved,
  leave() { if (recorder) recorder.stop(); saved = ""; },
  save: () => attempt(async () => {
    await post("/api/transcript", { transcript: $("transcript").value, audio });
    saved = $("transcript").value;
    await refresh();
    say("Saved the description.");
  }),
  show(item) {
    audio = null;
    attempt(async () => {
      const said = await get(`/api/said/${item.id}`);
      const least = said.least_seconds;
      saved = said.transcript;
      $("panel").replaceChildren(
        make("h2", {}, `Describe the image for ${least} to ${Math.round(1.5 * least)} seconds`),
        make("ol", { className: "questions" }, ...said.questions.map((question) => make("li", {}, question))),
        make("div", { className: "row" },
          make("button", { id: "record", className: "primary", onclick: record }, "Record"),
          make("span", { id: "timer", className: "timer" }, "0 s")),
        make("label", { className: "row" }, "Or a file: ",
          make("input", { id: "file", type: "file", accept: "audio/*", onchange: (event) => event.target.files[0] && upload(event.target.files[0]) })),
        make("p", { id: "receipt", className: "muted" }, said.seconds ? `Recording: ${said.seconds} s` : "No recording yet."),
        make("h2", {}, said.recogniser ? `Transcript (${said.recogniser} writes it; correct it)` : "Transcript (write what you said)"),
        make("textarea", { id: "transcript", rows: 8, value: said.transcript, "aria-label": "Transcript" }),
        make("div", { className: "row" }, make("button", { id: "save", className: "primary", onclick: speak.save, title: "Ctrl+Enter" }, "Save")));
    });
  },
};
