//! How `pubsub top` looks.

#![forbid(unsafe_code)]

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Paragraph, Row as TableRow, Sparkline, Table};

use super::model::{Model, Row};
use crate::table::{amount, bytes};

/// Lines of the totals, with their frame.
const HEAD: u16 = 6;
/// A terminal of fewer lines shows the channels only.
const LOW: u16 = 12;
/// One of fewer columns has no room for the curve beside the totals.
const CURVE_FROM: u16 = 84;
/// Characters of a queue's bar.
const BAR: u16 = 10;

/// Names, the least width of a terminal that shows it, its own width (0: what is left), and whether it is a number.
struct Column {
    name: &'static str,
    from: u16,
    width: u16,
    is_number: bool,
}

const COLUMNS: [Column; 9] = [
    Column { name: "PATTERN", from: 0, width: 0, is_number: false },
    Column { name: "PROGRAM", from: 88, width: 15, is_number: false },
    Column { name: "PID", from: 100, width: 8, is_number: true },
    Column { name: "IN/s", from: 60, width: 8, is_number: true },
    Column { name: "OUT/s", from: 30, width: 8, is_number: true },
    Column { name: "UNREAD", from: 72, width: 8, is_number: true },
    Column { name: "QUEUE", from: 46, width: BAR + 5, is_number: false },
    Column { name: "LOST", from: 80, width: 9, is_number: true },
    Column { name: "STATE", from: 66, width: 11, is_number: false },
];

pub fn draw(frame: &mut Frame, model: &mut Model) {
    let area = frame.area();
    let head = if area.height >= LOW { HEAD } else { 0 };
    let [totals, channels, foot] =
        Layout::vertical([Constraint::Length(head), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    if head > 0 {
        draw_head(frame, totals, model);
    }
    draw_channels(frame, channels, model);
    frame.render_widget(foot_line(model), foot);
}

fn frame_of(title: Line<'_>) -> Block<'_> {
    Block::bordered().border_type(BorderType::Rounded).border_style(Style::new().dark_gray()).title(title)
}

fn draw_head(frame: &mut Frame, area: Rect, model: &Model) {
    let curve = if area.width >= CURVE_FROM { area.width * 2 / 5 } else { 0 };
    let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(curve)]).areas(area);

    let totals = &model.totals;
    let received = model.curve.back().copied().unwrap_or(0.0);
    let counted = |n: u64, colour: Color| Span::styled(n.to_string(), if n > 0 { colour.into() } else { Style::new() });
    let mut lines = vec![
        Line::from(vec![
            "channels  ".dark_gray(),
            counted(totals.live, Color::Green).bold(),
            " live  ".into(),
            counted(totals.dead, Color::Red),
            " dead  ".into(),
            counted(totals.foreign, Color::Cyan),
            " of formix-pubsub".into(),
        ]),
        Line::from(vec![
            "messages  ".dark_gray(),
            format!("{}/s in  {}/s out", amount(model.published.round()), amount(received.round())).bold(),
            format!("  {} unread, {}", amount(totals.unread_messages as f64), bytes(totals.unread_bytes)).into(),
        ]),
        Line::from(vec![
            "lost      ".dark_gray(),
            counted(totals.rejected, Color::Yellow),
            " refused  ".into(),
            counted(totals.dropped, Color::Yellow),
            " dropped  ".into(),
            counted(totals.malformed, Color::Yellow),
            " malformed".into(),
        ]),
    ];
    if let Some(disk) = &model.disk {
        let mut line = vec!["store     ".dark_gray()];
        line.extend(bar(disk.used(), BAR));
        line.push(format!(" {} of {} left ({})", bytes(disk.available_bytes), bytes(disk.bytes), disk.kind).into());
        lines.push(Line::from(line));
    }
    let mut title = vec![" pubsub top ".bold().cyan(), format!(" {} ", model.home_shown).into()];
    if model.paused {
        title.push(" held ".black().on_yellow());
    }
    frame.render_widget(Paragraph::new(lines).block(frame_of(Line::from(title))), left);

    if curve > 0 {
        let block = frame_of(Line::from(" messages/s received ".dark_gray()));
        let width = usize::from(block.inner(right).width);
        let highest = model.curve.iter().copied().fold(1.0, f64::max);
        let block = block
            .title_bottom(Line::from(format!(" up to {}/s ", amount(highest.round())).dark_gray()).right_aligned());
        // The latest at the right.
        let newest = model.curve.iter().rev().take(width).rev();
        let mut data = vec![0; width.saturating_sub(model.curve.len())];
        data.extend(newest.map(|rate| rate.round() as u64));
        frame.render_widget(Sparkline::default().data(&data).style(Style::new().green()).block(block), right);
    }
}

fn draw_channels(frame: &mut Frame, area: Rect, model: &Model) {
    let (count, offset) = model.place();
    let mut title = vec![format!(" {count} channel{} ", if count == 1 { "" } else { "s" }).bold()];
    if !model.filter().is_empty() {
        title.push(format!(" with '{}' ", model.filter()).yellow());
    }
    title
        .push(format!(" by {}{} ", model.sort.name(), if model.is_reversed() { ", reversed" } else { "" }).dark_gray());
    let block = frame_of(Line::from(title));
    let fits = usize::from(block.inner(area).height.saturating_sub(1));
    let block = match count {
        count if offset > 0 || count > fits => {
            let last = (offset + fits).min(count);
            block.title_bottom(Line::from(format!(" {}-{last} of {count} ", offset + 1).dark_gray()).right_aligned())
        }
        _ => block,
    };
    if count == 0 {
        let words = match (&model.problem, model.filter().is_empty()) {
            (Some(problem), _) => problem.clone(),
            (None, true) => "Nobody listens here yet. Try: pubsub sub +".to_owned(),
            (None, false) => "No channel has that in its pattern or program.".to_owned(),
        };
        frame.render_widget(Paragraph::new(words.dark_gray()).centered().block(block), area);
        return;
    }
    let shown: Vec<&Column> = COLUMNS.iter().filter(|column| area.width >= column.from).collect();
    let align = |text: String, column: &Column| {
        if column.is_number { Line::from(text).right_aligned() } else { Line::from(text) }
    };
    let header = TableRow::new(shown.iter().map(|column| Cell::from(align(column.name.to_owned(), column))))
        .style(Style::new().dark_gray().add_modifier(Modifier::BOLD));
    let widths = shown.iter().map(|column| match column.width {
        0 => Constraint::Min(8),
        width => Constraint::Length(width),
    });
    let rows = model.rows().iter().take(fits).map(|row| {
        let cells = shown.iter().map(|column| match column.name {
            "QUEUE" => Cell::from(queue(row)),
            "STATE" => Cell::from(state(row)),
            name => Cell::from(align(text(row, name), column)).style(style(row, name)),
        });
        let style = if row.alive { Style::new() } else { Style::new().red().add_modifier(Modifier::DIM) };
        TableRow::new(cells.collect::<Vec<_>>()).style(style)
    });
    let table = Table::new(rows.collect::<Vec<_>>(), widths.collect::<Vec<_>>()).header(header).column_spacing(1);
    frame.render_widget(table.block(block), area);
}

fn text(row: &Row, column: &str) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| amount(rate.round()));
    match column {
        "PATTERN" => row.pattern.clone(),
        "PROGRAM" => row.program.clone(),
        "PID" => row.pid.to_string(),
        "IN/s" => rate(row.published),
        "OUT/s" => rate(row.received),
        "UNREAD" => amount(row.unread as f64),
        "LOST" => row.lost.map_or_else(
            || "-".to_owned(),
            |lost| format!("{}{}", amount(lost as f64), if row.is_losing { "!" } else { " " }),
        ),
        _ => String::new(),
    }
}

fn style(row: &Row, column: &str) -> Style {
    let some = |rate: Option<f64>| rate.is_some_and(|rate| rate >= 0.5);
    match column {
        _ if !row.alive => Style::new(),
        "PATTERN" if row.foreign => Style::new().cyan(),
        "PATTERN" => Style::new().bold(),
        "PROGRAM" | "PID" => Style::new().dark_gray(),
        "IN/s" if some(row.published) => Style::new().green(),
        "OUT/s" if some(row.received) => Style::new().green(),
        "LOST" if row.is_losing => Style::new().red().bold(),
        "LOST" if row.lost.is_some_and(|lost| lost > 0) => Style::new().yellow(),
        _ => Style::new(),
    }
}

fn queue(row: &Row) -> Line<'static> {
    let Some(fill) = row.fill else { return Line::from("-") };
    let mut line = bar(fill, BAR);
    line.push(format!(" {:>3.0}%", fill * 100.0).into());
    Line::from(line)
}

fn state(row: &Row) -> Line<'static> {
    let kind = if row.foreign { " formix" } else { "" };
    match (row.alive, row.fill) {
        (false, _) => Line::from(format!("dead{kind}").red().bold()),
        (true, Some(1.0)) => Line::from("full".red()),
        (true, _) => Line::from(format!("live{kind}").green()),
    }
}

/// A bar of so many characters, green while there is room.
fn bar(part: f64, width: u16) -> Vec<Span<'static>> {
    // Anything at all shows, and full is only what is full.
    let eighths = (part.clamp(0.0, 1.0) * f64::from(width) * 8.0).ceil() as usize;
    let colour = match part {
        part if part >= 0.9 => Color::Red,
        part if part >= 0.5 => Color::Yellow,
        _ => Color::Green,
    };
    let mut full = "█".repeat(eighths / 8);
    full.extend(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8).copied());
    let empty = usize::from(width) - eighths.div_ceil(8);
    vec![Span::styled(full, colour), Span::styled("░".repeat(empty), Color::DarkGray)]
}

fn foot_line(model: &Model) -> Line<'static> {
    if model.is_typing {
        return Line::from(vec![
            " filter: ".black().on_yellow(),
            format!(" {}", model.filter()).into(),
            "▏".yellow(),
            "  Enter keeps it, Esc takes it away".dark_gray(),
        ]);
    }
    if let Some(problem) = &model.problem {
        return Line::from(problem.clone().red());
    }
    let keys = [("q", "quit"), ("s", "sort"), ("r", "reverse"), ("p", "hold"), ("/", "filter"), ("↑↓", "scroll")];
    let spans =
        keys.iter().flat_map(|(key, words)| [format!(" {key} ").black().on_gray(), format!(" {words}  ").into()]);
    Line::from(spans.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::model;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(width: u16, height: u16, model: &mut Model) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(line).collect()
    }

    #[test]
    fn every_size_of_terminal_is_drawn() {
        for width in [1, 2, 3, 7, 20, 45, 46, 59, 60, 71, 79, 83, 84, 85, 99, 100, 300] {
            for height in [1, 2, 3, 5, 11, 12, 13, 40] {
                screen(width, height, &mut model());
            }
        }
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters_most() {
        let shown = |width: u16| {
            let lines = screen(width, 24, &mut model());
            let header = lines.into_iter().find(|line| line.contains("PATTERN")).unwrap();
            header.replace('│', " ").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(shown(20), ["PATTERN"]);
        assert_eq!(shown(50), ["PATTERN", "OUT/s", "QUEUE"]);
        assert_eq!(shown(80), ["PATTERN", "IN/s", "OUT/s", "UNREAD", "QUEUE", "LOST", "STATE"]);
        assert_eq!(shown(120).len(), COLUMNS.len());
    }

    #[test]
    fn a_row_says_how_its_channel_is() {
        let lines = screen(120, 24, &mut model());
        let row = |pattern: &str| lines.iter().find(|line| line.contains(pattern)).unwrap();
        for (pattern, parts) in [
            ("busy.=", &["reader", "505", "500", "20", "▎░░░░░░░░░", "2%", "live"][..]),
            ("full.+", &["1000", "██████████ 100%", "4!", "full"]),
            ("dead ", &["dead", "3"]),
            ("formix ", &["live formix", "5", "-"]),
        ] {
            let row = row(pattern);
            assert!(parts.iter().all(|part| row.contains(part)), "{parts:?}: {row}");
        }
        assert!(lines[1].contains("3 live  1 dead  1 of formix-pubsub"), "{}", lines[1]);
    }

    #[test]
    fn an_empty_store_and_a_filter_that_finds_nothing_say_so() {
        let mut model = model();
        model.set_filter("zzz".to_owned());
        assert!(screen(80, 24, &mut model).concat().contains("No channel has that"));
    }
}
