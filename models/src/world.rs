//! What a ring runs on in a model: few words, bytes that notice unsynchronized access, pages, locks, a FIFO.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU64 as LoomU64;
use loom::sync::{Condvar, Mutex};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::ring::{
    BELL, Consumer, HAZARD, HEAD, Layout, Locks, Look, Memory, Outcome, Place, Producer, Ring, SLOTS_RESERVED, STATE,
    Seen, Source, TAIL_HINT, TAKEN, Taken,
};
use crate::sys::chaos::planted;
use crate::sys::word::AtomicU64;

/// Records are a step long and say one number.
pub(crate) const STEP: usize = 16;

/// Memory with one cell for each step of the chunks.
pub(crate) struct ModelMemory {
    layout: Layout,
    head: [AtomicU64; 2],
    taken: AtomicU64,
    hazard: AtomicU64,
    bell: AtomicU64,
    hint: [AtomicU64; 2],
    state: AtomicU64,
    slots_reserved: AtomicU64,
    table: Vec<AtomicU64>,
    /// Two words for each slot.
    slots: Vec<AtomicU64>,
    /// The checker has no pairs: they are written, and read as pairs, under a lock each; of head, of the hint, of the slots. Who
    /// reads one word alone may see the new second one with the old first, which is more than can happen.
    pairs: Vec<Mutex<()>>,
    steps: Vec<UnsafeCell<u64>>,
    /// The same for readers beside the ring, who copy what may be written over meanwhile, and find out. In models of them
    /// the cells are not used.
    copied: Option<Vec<LoomU64>>,
    /// For slots, and for steps: whether they may be touched. What is known of it passes no happens-before on.
    pages: RefCell<(Vec<bool>, Vec<bool>)>,
    /// In models about pages: has the checker try reservations and accesses in either order.
    calls: Option<AtomicU64>,
}

// SAFETY: the checker's threads take turns on one thread of the system, and cells that others may touch check themselves.
unsafe impl Send for ModelMemory {}
// SAFETY: as above.
unsafe impl Sync for ModelMemory {}

impl ModelMemory {
    fn step(&self, offset: usize) -> usize {
        let first = self.layout.file_len() - self.layout.chunks as usize * self.layout.chunk_size as usize;
        assert_eq!((offset - first) % STEP, 0);
        (offset - first) / STEP
    }

    fn see_pages(&self, change: bool) {
        match &self.calls {
            Some(calls) if change => {
                calls.fetch_add(1, Relaxed);
            }
            Some(calls) => {
                calls.load(Relaxed);
            }
            None => {}
        }
    }

    /// The lock of a pair and its words.
    fn pair(&self, index: usize) -> (&Mutex<()>, &[AtomicU64]) {
        match index {
            HEAD => (&self.pairs[0], &self.head),
            TAIL_HINT => (&self.pairs[1], &self.hint),
            _ => {
                let slot = self.slot(index).unwrap();
                self.see_pages(false);
                assert!(self.pages.borrow().0[slot / 2], "a slot without a page is touched");
                (&self.pairs[2 + slot / 2], &self.slots[slot..slot + 2])
            }
        }
    }

    fn slot(&self, index: usize) -> Option<usize> {
        let first = self.layout.fixed_bytes() / 8;
        (index >= first && index < first + 2 * self.layout.slots as usize).then(|| index - first)
    }
}

impl Memory for ModelMemory {
    fn word(&self, index: usize) -> &AtomicU64 {
        const TABLE: usize = 2 * 512;
        match index {
            HEAD => &self.head[0],
            TAKEN => &self.taken,
            HAZARD => &self.hazard,
            BELL => &self.bell,
            TAIL_HINT => &self.hint[0],
            STATE => &self.state,
            SLOTS_RESERVED => &self.slots_reserved,
            _ => match self.slot(index) {
                Some(word) => {
                    self.see_pages(false);
                    assert!(self.pages.borrow().0[word / 2], "a slot without a page is touched");
                    &self.slots[word]
                }
                None => &self.table[index - TABLE],
            },
        }
    }

    fn swap_pair(&self, index: usize, from: (u64, u64), to: (u64, u64)) -> bool {
        let (lock, words) = self.pair(index);
        let _pair = lock.lock().unwrap();
        if (words[0].load(Acquire), words[1].load(Acquire)) != from {
            return false;
        }
        let relaxed = planted("commit relaxed") && index != HEAD || planted("head relaxed") && index == HEAD;
        let release = if relaxed { Relaxed } else { Release };
        words[1].store(to.1, release);
        words[0].store(to.0, release);
        true
    }

    fn load_pair(&self, index: usize) -> Option<(u64, u64)> {
        let (lock, words) = self.pair(index);
        let _pair = lock.lock().unwrap();
        Some((words[0].load(Acquire), words[1].load(Acquire)))
    }

    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let step = self.step(offset);
        self.see_pages(false);
        assert!(self.pages.borrow().1[step], "a page that was not reserved is written to");
        let value = u64::from_ne_bytes(bytes.try_into().unwrap());
        if let Some(copied) = &self.copied {
            return copied[step].store(value, Relaxed);
        }
        // SAFETY: the checker sees to it that nobody else accesses the cell.
        self.steps[step].with_mut(|cell| unsafe { *cell = value });
    }

    fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        let step = self.step(offset);
        self.see_pages(false);
        assert!(self.pages.borrow().1[step], "a page that was given back is read");
        // SAFETY: as in copy_in.
        let value = self.steps[step].with(|cell| unsafe { *cell });
        bytes.copy_from_slice(&value.to_ne_bytes());
    }

    fn prefetch(&self, _offset: usize, _len: usize) {}

    fn prefetch_to_read(&self, _offset: usize, _len: usize) {}

    fn reserve(&self, offset: usize, len: usize) -> io::Result<()> {
        self.see_pages(true);
        let mut pages = self.pages.borrow_mut();
        if let Some(word) = self.slot(offset / 8) {
            pages.0[word / 2..word / 2 + len / 16].fill(true);
        } else {
            let step = self.step(offset);
            pages.1[step..step + len / STEP].fill(true);
        }
        Ok(())
    }

    fn give_back(&self, offset: usize, len: usize) -> io::Result<()> {
        let step = self.step(offset);
        self.see_pages(true);
        for step in step..step + len / STEP {
            // SAFETY: as in copy_in.
            self.steps[step].with_mut(|cell| unsafe { *cell = 0 });
            self.pages.borrow_mut().1[step] = false;
        }
        Ok(())
    }
}

/// As `pread` copies: a slot at once, anything else without any order.
impl Source for &ModelMemory {
    fn read(self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let index = offset as usize / 8;
        if self.slot(index).is_some() {
            for (i, slot) in bytes.chunks_exact_mut(16).enumerate() {
                let (sequence, word) = self.load_pair(index + 2 * i).unwrap();
                slot[..8].copy_from_slice(&sequence.to_ne_bytes());
                slot[8..].copy_from_slice(&word.to_ne_bytes());
            }
        } else if [HEAD, TAIL_HINT, SLOTS_RESERVED].contains(&index) {
            bytes.copy_from_slice(&self.word(index).load(Relaxed).to_ne_bytes());
        } else {
            let copied = self.copied.as_ref().expect("a model of readers");
            bytes.copy_from_slice(&copied[self.step(offset as usize)].load(Relaxed).to_ne_bytes());
        }
        Ok(bytes.len())
    }
}

/// The lock bytes of a file.
pub(crate) struct LockBytes(Vec<Mutex<Option<u32>>>);

/// The lock bytes, as one open file sees them.
#[derive(Clone)]
pub(crate) struct ModelLocks {
    bytes: Arc<LockBytes>,
    holder: u32,
}

impl ModelLocks {
    /// What the kernel does when the holder is gone.
    pub(crate) fn close(&self) {
        for byte in &self.bytes.0 {
            let mut holder = byte.lock().unwrap();
            if *holder == Some(self.holder) {
                *holder = None;
            }
        }
    }
}

impl Locks for ModelLocks {
    fn try_lock(&self, id: u32) -> bool {
        let Some(byte) = self.bytes.0.get(id as usize) else { return false };
        let mut holder = byte.lock().unwrap();
        let free = holder.is_none() || *holder == Some(self.holder);
        if free {
            *holder = Some(self.holder);
        }
        free
    }

    fn is_locked(&self, id: u32) -> bool {
        let Some(byte) = self.bytes.0.get(id as usize) else { return true };
        byte.lock().unwrap().is_some_and(|holder| holder != self.holder)
    }

    fn unlock(&self, id: u32) {
        let mut holder = self.bytes.0[id as usize].lock().unwrap();
        if *holder == Some(self.holder) {
            *holder = None;
        }
    }
}

/// A ring with its locks and its FIFO.
pub(crate) struct World {
    pub ring: Ring<ModelMemory>,
    bytes: Arc<LockBytes>,
    tokens: Mutex<u32>,
    rung: Condvar,
}

pub(crate) type ModelProducer = Producer<ModelLocks>;

impl World {
    pub(crate) fn new(slots: u64, chunks: u32, steps: u32, drop_oldest: bool) -> Arc<World> {
        World::with_pages(slots, chunks, steps, drop_oldest, false)
    }

    /// With a bound of so many bytes.
    pub(crate) fn bounded(slots: u64, bytes: u64, chunks: u32, drop_oldest: bool) -> Arc<World> {
        World::with(slots, bytes, (chunks, 1), drop_oldest, false)
    }

    /// `pages`: the model is about when they are reserved and given back. In others, slots have theirs from the beginning.
    pub(crate) fn with_pages(slots: u64, chunks: u32, steps: u32, drop_oldest: bool, pages: bool) -> Arc<World> {
        World::with(slots, u64::MAX, (chunks, steps), drop_oldest, pages)
    }

    /// A history: it drops the oldest, nobody consumes, and readers look at it.
    pub(crate) fn history(slots: u64, chunks: u32) -> Arc<World> {
        World::made(slots, u64::MAX, (chunks, 1), true, false, true)
    }

    fn with(slots: u64, bytes: u64, (chunks, steps): (u32, u32), drop_oldest: bool, pages: bool) -> Arc<World> {
        World::made(slots, bytes, (chunks, steps), drop_oldest, pages, false)
    }

    fn made(
        slots: u64,
        bytes: u64,
        (chunks, steps): (u32, u32),
        drop_oldest: bool,
        pages: bool,
        copied: bool,
    ) -> Arc<World> {
        let chunk_size = steps * STEP as u32;
        let layout = Layout { slots, bound: slots, bytes_bound: bytes, chunks, chunk_size, drop_oldest };
        assert!(layout.is_valid());
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let all = (chunks * steps) as usize;
        let memory = ModelMemory {
            layout,
            head: [0, 0].map(AtomicU64::new),
            taken: AtomicU64::new(0),
            hazard: AtomicU64::new(0),
            bell: AtomicU64::new(0),
            hint: [0, 0].map(AtomicU64::new),
            state: AtomicU64::new(0),
            slots_reserved: AtomicU64::new(if pages { 0 } else { slots }),
            table: words(chunks as usize),
            slots: words(2 * slots as usize),
            pairs: (0..2 + slots).map(|_| Mutex::new(())).collect(),
            steps: (0..all).map(|_| UnsafeCell::new(0)).collect(),
            copied: copied.then(|| (0..all).map(|_| LoomU64::new(0)).collect()),
            pages: RefCell::new((vec![!pages; slots as usize], vec![false; all])),
            calls: pages.then(|| AtomicU64::new(0)),
        };
        let bytes = Arc::new(LockBytes((0..4).map(|_| Mutex::new(None)).collect()));
        Arc::new(World { ring: Ring::new(memory, layout), bytes, tokens: Mutex::new(0), rung: Condvar::new() })
    }

    pub(crate) fn locks(&self, holder: u32) -> ModelLocks {
        ModelLocks { bytes: Arc::clone(&self.bytes), holder }
    }

    pub(crate) fn producer(&self, id: u32) -> ModelProducer {
        Producer::attach(&self.ring, self.locks(id), id).unwrap()
    }

    /// Publishes a record that says `value`.
    pub(crate) fn publish(&self, producer: &mut ModelProducer, value: u64) -> Outcome {
        let fill = |memory: &ModelMemory, at: usize| memory.copy_in(at, &value.to_ne_bytes());
        producer.publish(&self.ring, STEP as u32, fill, || self.token(), |_| unreachable!())
    }

    fn token(&self) {
        *self.tokens.lock().unwrap() += 1;
        self.rung.notify_one();
    }

    /// What the next message says.
    pub(crate) fn next(&self, consumer: &mut Consumer) -> Option<u64> {
        let taken = consumer.next(&self.ring, |memory, _, at| {
            let mut value = [0; 8];
            memory.copy_out(at, &mut value);
            u64::from_ne_bytes(value)
        });
        consumer.publish_head(&self.ring);
        taken.map(|taken| match taken {
            Taken::Message(value) => value,
            Taken::Malformed => panic!("a malformed ref"),
        })
    }

    /// The next message; sleeps until there is one. The checker calls it a deadlock when none wakes it.
    pub(crate) fn wait(&self, consumer: &mut Consumer) -> u64 {
        loop {
            if let Some(value) = self.next(consumer) {
                return value;
            }
            if !consumer.arm(&self.ring) {
                continue;
            }
            let mut tokens = self.tokens.lock().unwrap();
            while *tokens == 0 {
                tokens = self.rung.wait(tokens).unwrap();
            }
            *tokens = 0;
        }
    }

    /// What a reader of the history finds: positions, and what the messages there say. As `history::read` does it.
    pub(crate) fn look(&self) -> Vec<(u64, u64)> {
        let look = Look { source: &self.ring.memory, layout: &self.ring.layout };
        let (first, end) = look.range().unwrap();
        let mut found = Vec::new();
        let mut position = first;
        while position < end {
            let seen = look.slots(position, end - position).unwrap();
            for slot in seen {
                if let Seen::Message(Place::Record { offset, .. }) = slot {
                    let mut value = [0; 8];
                    look.source.read(&mut value, offset).unwrap();
                    found.push((position, u64::from_ne_bytes(value)));
                }
                position += 1;
            }
        }
        let head = look.head_after().unwrap();
        found.retain(|&(position, _)| position >= head);
        found
    }

    /// All that is there.
    pub(crate) fn drain(&self, consumer: &mut Consumer) -> Vec<u64> {
        std::iter::from_fn(|| self.next(consumer)).collect()
    }
}
