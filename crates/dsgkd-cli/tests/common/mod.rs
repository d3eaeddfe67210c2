//! A small world for whole commands: notes, and two encoders that `dsgkd pretrain` makes in a second.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

use assert_cmd::Command;
use std::path::{Path, PathBuf};

/// A folder with notes, a student and a teacher.
pub struct World {
    folder: tempfile::TempDir,
}

/// The command under test.
pub fn dsgkd() -> Command {
    let mut command = Command::cargo_bin("dsgkd").unwrap();
    command.env("RAYON_NUM_THREADS", "2");
    command
}

/// The same for a test that sends it SIGINT: whoever started the tests may have SIGINT ignored (`nohup`, a background job of
/// a script), and a process inherits that.
pub fn dsgkd_that_heeds_ctrl_c() -> std::process::Command {
    let mut command = std::process::Command::new("env");
    command.arg("--default-signal=INT").arg(assert_cmd::cargo::cargo_bin("dsgkd"));
    command
}

/// Standard output and standard error of a command that ends with `code`.
pub fn ran(command: &mut Command, code: i32) -> (String, String) {
    let output = command.assert().code(code).get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The notes: whether a patient is an emergency follows from the complaint, mostly.
pub fn notes_csv(extra: &str) -> String {
    let urgent = ["chest pain", "seizure", "dyspnea", "altered mental status", "syncope"];
    let mild = ["cough", "ankle sprain", "sore throat", "wound dressing", "itching"];
    let mut csv = String::from("id,patient,note,urgent\n");
    for number in 0..120 {
        let (words, label) = if number % 3 == 0 { (urgent, "yes") } else { (mild, "no") };
        let word = words[number % 5];
        let age = 20 + number * 7 % 60;
        csv += &format!(
            "{number},p{},\"{number}번 {age}세 환자 {word}가 있어 내원 {extra} BT{}.{}C\",{label}\n",
            number / 2,
            36 + number % 3,
            number % 10
        );
    }
    csv
}

impl World {
    /// Writes the notes and pretrains the encoders.
    pub fn new() -> World {
        World::with_notes(&notes_csv(""))
    }

    /// As [`World::new`], with other notes.
    pub fn with_notes(csv: &str) -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        std::fs::write(world.path("notes.csv"), csv).unwrap();
        for (name, sizes) in [
            ("student", "hidden_size = 16\nnum_hidden_layers = 2"),
            ("teacher", "hidden_size = 24\nnum_hidden_layers = 3"),
        ] {
            let text: String = (0..200)
                .map(|i| {
                    format!(
                        "{i} 세 환자 chest pain seizure dyspnea cough 있어 내원 가 sore throat cough가 {}\n",
                        i * 31 % 17
                    )
                })
                .collect();
            std::fs::write(world.path("text.txt"), text).unwrap();
            let config = format!(
                "output_dir = \"{name}-run\"\n[[corpus]]\nfiles = [\"text.txt\"]\n[vocabulary]\nsize = 120\nmin_frequency = 1\n\
                 [architecture]\n{sizes}\nnum_attention_heads = 2\nintermediate_size = 32\nmax_position_embeddings = 64\n\
                 [train]\nmax_steps = 3\nheld_out_every = 20\n"
            );
            std::fs::write(world.path("pretrain.toml"), config).unwrap();
            dsgkd().arg("pretrain").arg(world.path("pretrain.toml")).arg("--quiet").assert().success();
        }
        world
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Writes an experiment file with the teacher, who teaches all terms (the student has half of them whole), or without, and `more` at its end.
    pub fn experiment(&self, name: &str, teacher: bool, more: &str) -> PathBuf {
        let teachers = if teacher { "[[teachers]]\nmodel = \"teacher-run/model\"\n" } else { "" };
        let text = format!(
            "output_dir = \"{name}\"\nseed = 3\n[data]\ntrain = [\"notes.csv\"]\ntext = \"note\"\nlabel = \"urgent\"\nlabels = [\"no\", \"yes\"]\n\
             id = \"id\"\ngroup = \"patient\"\n[data.split]\ntest_fraction = 0.25\nvalidation_fraction = 0.2\n[text]\nmax_length = 48\n\
             min_student_tokens = 1\n\
             [student]\nmodel = \"student-run/model\"\n{teachers}[evaluation]\nbootstrap_samples = 100\n\
             [train]\nnum_train_epochs = 3\nbatch_size = 8\nlearning_rate = 0.003\n{more}"
        );
        let path = self.path(&format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Bytes of a file.
pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
