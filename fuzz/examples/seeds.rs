//! Writes what each target begins with to `corpus/<target>/`.
use std::path::Path;

fn main() -> std::io::Result<()> {
    for target in hoist_fuzz::targets::TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        std::fs::create_dir_all(&dir)?;
        for (number, input) in target.inputs().iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number}")), input)?;
        }
    }
    Ok(())
}
