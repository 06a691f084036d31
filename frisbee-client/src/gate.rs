//! Before the first write: is this an image, and does it suit the target?
//!
//! What it owns: the chunks that come before that is known. As long as the sizes differ, the
//! partition table in chunk 0 decides; otherwise any native chunk tells enough, so that late
//! joiners need not ask for chunk 0 out of turn. What it never does: write.

use crate::error::ClientError;
use crate::work::{Chunk, Verdict, Work};
use crate::workers::Workers;
use crossbeam_channel::Receiver;
use imagezip::load::{Fit, ImageFacts, LoadError, Place, preview};
use imagezip::ndz::{FormatError, VerifiedChunk};

/// What came through the gate.
pub(crate) struct Opened {
    /// What is known of the image.
    pub(crate) facts: ImageFacts,
    /// How it is adapted to the target.
    pub(crate) fit: Fit,
    /// The chunks that came meanwhile.
    pub(crate) held: Vec<Chunk>,
}

/// Takes chunks until one tells whether the image suits the target.
///
/// # Errors
/// When it does not, or the receiver ended, or a chunk is wrong each time.
pub(crate) fn open(
    work: &Receiver<Work>,
    workers: &Workers<'_>,
    place: &Place,
) -> Result<Opened, ClientError> {
    let mut held = Vec::new();
    let mut has_asked = false;
    loop {
        let chunk = match work.recv() {
            Ok(Work::Chunk(chunk)) => chunk,
            Ok(Work::Joined(_)) => continue,
            Err(_) => return Err(LoadError::EndedEarly.into()),
        };
        match look(&chunk, place) {
            Ok(Some(found)) => {
                held.push(chunk);
                let (facts, fit) = found?;
                return Ok(Opened { facts, fit, held });
            }
            Ok(None) => {
                held.push(chunk);
                if !has_asked {
                    has_asked = true;
                    workers.tell(Verdict::NeedFirst);
                }
            }
            Err(error) => workers.reject(chunk, error)?,
        }
    }
}

/// What a chunk tells: nothing yet, or the verdict.
type Found = Result<(ImageFacts, Fit), LoadError>;

fn look(chunk: &Chunk, place: &Place) -> Result<Option<Found>, FormatError> {
    let verified = VerifiedChunk::verify(&chunk.bytes, u64::from(chunk.number))?;
    let (facts, tables) = preview(&verified)?;
    if chunk.number != 0 && place.needs_tables(&facts) {
        return Ok(None);
    }
    Ok(Some(place.fit(&facts, &tables).map(|fit| (facts, fit))))
}
